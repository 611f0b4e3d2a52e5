//! The binary as people and machines run it: start, stop, commands, logs.

mod accounts;
mod chaos;
mod cli;
mod docs;
mod doctor;
mod logs;
mod rolling;
mod start;
mod stop;
