"""The families of models; the only room that knows of Flax."""

from jaxvae.models.autoregressive import AutoregressiveConfig as AutoregressiveConfig
from jaxvae.models.autoregressive import linear_gaussian as linear_gaussian
from jaxvae.models.autoregressive import persistence as persistence
from jaxvae.models.conditional import ConditionalConfig as ConditionalConfig
from jaxvae.models.families import FAMILIES as FAMILIES
from jaxvae.models.families import OwnModel as OwnModel
from jaxvae.models.families import describe_family as describe_family
from jaxvae.models.families import is_own as is_own
from jaxvae.models.families import read_family as read_family
from jaxvae.models.likelihoods import df_of as df_of
from jaxvae.models.likelihoods import standard_t_prior as standard_t_prior
from jaxvae.models.model import Batch as Batch
from jaxvae.models.model import Facts as Facts
from jaxvae.models.model import Family as Family
from jaxvae.models.model import Model as Model
from jaxvae.models.model import Noise as Noise
from jaxvae.models.model import Objective as Objective
from jaxvae.models.model import Recurrence as Recurrence
from jaxvae.models.model import Variables as Variables
from jaxvae.models.model import factors_used as factors_used
from jaxvae.models.model import make_batch as make_batch
from jaxvae.models.model import standard_normal_prior as standard_normal_prior
from jaxvae.models.model import take_rows as take_rows
from jaxvae.models.static import AdditiveConfig as AdditiveConfig
from jaxvae.models.static import PerceptronConfig as PerceptronConfig
from jaxvae.models.temporal import TemporalConfig as TemporalConfig
