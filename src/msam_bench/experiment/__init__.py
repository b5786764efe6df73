"""A problem of the user's own: data, model, loss and machine, compared by the same loop, folders and statistics."""
