//! The binary as a process: start, stop, commands, logs.

mod accounts;
mod chaos;
mod cli;
mod docs;
mod doctor;
mod logs;
mod production;
mod rolling;
mod rotation;
mod start;
mod stop;
