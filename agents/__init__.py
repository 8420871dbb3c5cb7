"""The worker: Faust application, mailbox agent, sweeper."""
