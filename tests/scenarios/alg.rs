//! FTP and TFTP through the gateway, with their gateways on: who is let in, and what both ends see of the control
//! connection. The results are the same with any number of workers.

mod dialogue;
mod ftp;
mod tftp;

use crate::translation::HOME;

/// HOME, whose hosts speak FTP with servers outside.
pub(crate) fn ftp_home(more: &str) -> String {
    format!("{HOME}\n[alg.ftp]\n{more}\n")
}

/// HOME with an FTP server inside that is published by a forward.
pub(crate) fn ftp_server(more: &str) -> String {
    format!(
        "{HOME}\n[[dnat]]\non = 'wan'\nprotocol = 'tcp'\nport = 21\nto = '192.168.1.10'\n[alg.ftp]\n{more}\n"
    )
}
