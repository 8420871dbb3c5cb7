"""The sorting room: Faust application, mailbox agent, sweeper."""
