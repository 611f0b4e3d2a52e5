//! The binary as people and machines run it: start, stop, commands, logs.

mod chaos;
mod cli;
mod docs;
mod doctor;
mod logs;
mod rolling;
mod start;
mod stop;
