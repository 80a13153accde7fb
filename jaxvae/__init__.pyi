"""Latent factors in panels of asset returns: ensembles of VAEs as one compiled JAX program.

What is public, and where it lives: read by type checkers, and by the package itself.
"""

from jaxvae import analysis as analysis
from jaxvae import baselines as baselines
from jaxvae.cli.study import gather as gather
from jaxvae.data import panel_from_frame as panel_from_frame
from jaxvae.data import read_panel as read_panel
from jaxvae.data.covariates import calendar as calendar
from jaxvae.data.covariates import trailing_volatility as trailing_volatility
from jaxvae.data.covariates import with_covariates as with_covariates
from jaxvae.data.named import load_french as load_french
from jaxvae.data.named import load_sp500 as load_sp500
from jaxvae.data.named import load_stocks as load_stocks
from jaxvae.data.named import load_tickers as load_tickers
from jaxvae.data.panel import Panel as Panel
from jaxvae.data.panel import Reference as Reference
from jaxvae.data.panel import fit_scaler as fit_scaler
from jaxvae.data.panel import split_dates as split_dates
from jaxvae.data.regimes import regimes_panel as regimes_panel
from jaxvae.data.synthetic import linear_panel as linear_panel
from jaxvae.data.synthetic import nonlinear_panel as nonlinear_panel
from jaxvae.data.synthetic import volatility_index_panel as volatility_index_panel
from jaxvae.errors import DataError as DataError
from jaxvae.errors import FolderError as FolderError
from jaxvae.errors import JaxvaeError as JaxvaeError
from jaxvae.errors import MissingExtraError as MissingExtraError
from jaxvae.errors import OptionError as OptionError
from jaxvae.fitting.config import StudyConfig as StudyConfig
from jaxvae.inference.importance import log_likelihood as log_likelihood
from jaxvae.integrations.sklearn import VAEFactors as VAEFactors
from jaxvae.models import AdditiveConfig as AdditiveConfig
from jaxvae.models import AutoregressiveConfig as AutoregressiveConfig
from jaxvae.models import Batch as Batch
from jaxvae.models import ConditionalConfig as ConditionalConfig
from jaxvae.models import Facts as Facts
from jaxvae.models import Model as Model
from jaxvae.models import PerceptronConfig as PerceptronConfig
from jaxvae.models import TemporalConfig as TemporalConfig
from jaxvae.models import Variables as Variables
from jaxvae.models import kalman as kalman
from jaxvae.models import make_batch as make_batch
from jaxvae.models.distributions import Distribution as Distribution
from jaxvae.models.distributions import Gaussian as Gaussian
from jaxvae.models.student_t import IndependentT as IndependentT
from jaxvae.models.student_t import StudentT as StudentT
from jaxvae.study.compare import compare as compare
from jaxvae.study.plan import Plan as Plan
from jaxvae.study.plan import plan_study as plan_study
from jaxvae.study.questions.new_assets import NewAsset as NewAsset
from jaxvae.study.run import run_study as run_study
from jaxvae.study.study import Study as Study
from jaxvae.study.study import draw_report as draw_report
from jaxvae.study.study import load_study as load_study
from jaxvae.training.config import TrainConfig as TrainConfig
from jaxvae.training.ensemble import Ensemble as Ensemble
from jaxvae.training.ensemble import Members as Members
from jaxvae.training.ensemble import Progress as Progress
from jaxvae.training.ensemble import member_grid as member_grid
from jaxvae.training.ensemble import train_ensemble as train_ensemble
from jaxvae.training.member import fit as fit
from jaxvae.training.objective import LikelihoodEstimate as LikelihoodEstimate
from jaxvae.training.state import Data as Data
from jaxvae.training.state import Hyperparameters as Hyperparameters
from jaxvae.training.state import Losses as Losses
from jaxvae.training.state import TrainState as TrainState
from jaxvae.training.state import make_hyperparameters as make_hyperparameters
from jaxvae.walk.config import WalkConfig as WalkConfig
from jaxvae.walk.run import walk_forward as walk_forward
from jaxvae.walk.walk import Walk as Walk
from jaxvae.walk.walk import draw_walk_report as draw_walk_report
from jaxvae.walk.walk import load_walk as load_walk

__version__: str
