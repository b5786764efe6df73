"""Problems of the user's own: a model, data, a loss and an optimizer, as a source of data for runs."""
