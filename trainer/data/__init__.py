"""From examples to batches: the token store, the ledger,
the epoch plan and the tf.data pipeline.
"""
