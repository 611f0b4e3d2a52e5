//! The binary as a process: start, stop, commands, logs.

mod accounts;
mod chaos;
mod cli;
mod docs;
mod doctor;
mod files;
mod logs;
mod output;
mod people;
mod production;
mod rolling;
mod rotation;
mod start;
mod stop;
mod usage;
mod webhooks;
