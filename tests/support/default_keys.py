"""The names that a deployment with the default namespace has in Redis."""

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store.keys import Keys

keys = Keys(Settings().namespace)
SERVING = INTERACTIVE, BULK = tuple(map(keys.queue, names.SERVING_QUEUES))
TRAIN = keys.queue(names.TRAIN_QUEUE)
