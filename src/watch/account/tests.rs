//! Every rule of the account, on messages as servers send them.
