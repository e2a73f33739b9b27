"""Every error that maw raises, in one tree.

The class docstring is the message (a ``str.format`` template filled from the keyword
arguments), the class carries the exit code, and each message ends with the next step.
Only ``maw.cli`` prints these and picks the exit code.

    MawError (1)
    ├── Misuse (2)
    │   ├── UnknownEngine (2)
    │   ├── UnknownHost (2)
    │   ├── NotThereYet (2)
    │   └── NoDocuments (2)
    ├── SomeNodesDown (1)
    ├── PartialSuccess (3)
    ├── NothingSucceeded (4)
    ├── DoctorFoundProblems (5)
    ├── Interrupted (130)
    ├── ConfigError (10)
    │   ├── UnknownSetting (10)
    │   └── InvalidSetting (10)
    ├── InventoryError (11)
    ├── FileError (12)
    │   ├── CannotRead (12)
    │   ├── CannotWrite (12)
    │   └── DiskFull (13)
    ├── TextError (20)
    │   ├── EmptyDocument (20)
    │   ├── BinaryDocument (20)
    │   ├── DocumentTooLarge (20)
    │   ├── DocumentChanged (20)
    │   ├── NoTextInPdf (20)
    │   ├── DamagedDocument (20)
    │   ├── EncryptedDocument (20)
    │   └── FetchFailed (20)
    ├── OffloadError (30)
    │   ├── WorkerMissing (31)
    │   ├── WorkerDied (32)
    │   ├── ProtocolError (33)
    │   ├── JobTimedOut (34)
    │   └── LedgerError (36)
    ├── ModelError (40)
    │   ├── AnswerRejected (41)
    │   └── EngineUnavailable (42)
    ├── SoulError (50)
    ├── KeysError (60)
    │   ├── KeysWrong (61)
    │   └── RotationUnfinished (62)
    ├── MirrorError (70)
    │   ├── ArchiveIncomplete (71)
    │   ├── UnsafeArchive (72)
    │   ├── NotAnArchive (73)
    │   ├── PctConfigError (74)
    │   ├── ModeRefused (75)
    │   ├── MirrorBusy (76)
    │   ├── NotOurs (77)
    │   ├── MirrorRuns (78)
    │   ├── MirrorDiffers (79)
    │   ├── OriginalAnswers (80)
    │   └── UnknownMirror (81)
    ├── LxdError (85)
    │   ├── NoLxd (86)
    │   └── NoPool (87)
    ├── ProxmoxError (90)
    │   ├── ProxmoxUnreachable (91)
    │   ├── ProxmoxCertificate (92)
    │   ├── ProxmoxAuthentication (93)
    │   ├── ProxmoxPermission (94)
    │   ├── NoSuchContainer (95)
    │   ├── ContainerLocked (96)
    │   ├── TaskFailed (97)
    │   └── TokenUnusable (98)
    ├── WeightsError (110)
    │   ├── LicenceNotAccepted (111)
    │   ├── TokenNeeded (112)
    │   ├── WeightsDamaged (113)
    │   ├── HubUnreachable (114)
    │   ├── UnknownRevision (115)
    │   ├── UnknownRepository (116)
    │   ├── UnsafeWeights (117)
    │   ├── WeightsTooLarge (118)
    │   └── HubTokenUnusable (119)
    ├── ProvisionError (100)
    │   ├── PlaybookFailed (101)
    │   ├── ProvisionBusy (102)
    │   ├── CollectionsMissing (103)
    │   ├── VaultPasswordWrong (104)
    │   ├── PlaceholderLeft (105)
    │   ├── ContentMissing (106)
    │   └── NotFinished (107)
    └── TransportError (240)
        ├── HostUnreachable (241)
        │   └── HostSilent (241)
        ├── HostKeyUnknown (242)
        ├── HostKeyChanged (243)
        ├── AuthenticationRefused (244)
        ├── LinkLost (245)
        ├── CommandTimedOut (246)
        ├── CommandNotFound (247)
        └── BridgeFailed (248)

Transport codes start at 240, so that `cutter offload` can hand a remote command's own exit
code (0 to 192, 255) through unchanged.
"""

from maw.errors.base import (
    CannotRead,
    CannotWrite,
    ConfigError,
    DiskFull,
    DoctorFoundProblems,
    FileError,
    Interrupted,
    InvalidSetting,
    InventoryError,
    MawError,
    Misuse,
    NoDocuments,
    NothingSucceeded,
    NotThereYet,
    PartialSuccess,
    SomeNodesDown,
    UnknownEngine,
    UnknownHost,
    UnknownSetting,
    printable,
)
from maw.errors.machines import (
    AuthenticationRefused,
    BridgeFailed,
    CommandNotFound,
    CommandTimedOut,
    HostKeyChanged,
    HostKeyUnknown,
    HostSilent,
    HostUnreachable,
    KeysError,
    KeysWrong,
    LinkLost,
    RotationUnfinished,
    TransportError,
)
from maw.errors.mirrors import (
    ArchiveIncomplete,
    ContainerLocked,
    LxdError,
    MirrorBusy,
    MirrorDiffers,
    MirrorError,
    MirrorRuns,
    ModeRefused,
    NoLxd,
    NoPool,
    NoSuchContainer,
    NotAnArchive,
    NotOurs,
    OriginalAnswers,
    PctConfigError,
    ProxmoxAuthentication,
    ProxmoxCertificate,
    ProxmoxError,
    ProxmoxPermission,
    ProxmoxUnreachable,
    TaskFailed,
    TokenUnusable,
    UnknownMirror,
    UnsafeArchive,
)
from maw.errors.provision import (
    CollectionsMissing,
    ContentMissing,
    NotFinished,
    PlaceholderLeft,
    PlaybookFailed,
    ProvisionBusy,
    ProvisionError,
    VaultPasswordWrong,
)
from maw.errors.weights import (
    HubTokenUnusable,
    HubUnreachable,
    LicenceNotAccepted,
    TokenNeeded,
    UnknownRepository,
    UnknownRevision,
    UnsafeWeights,
    WeightsDamaged,
    WeightsError,
    WeightsTooLarge,
)
from maw.errors.work import (
    AnswerRejected,
    BinaryDocument,
    DamagedDocument,
    DocumentChanged,
    DocumentTooLarge,
    EmptyDocument,
    EncryptedDocument,
    EngineUnavailable,
    FetchFailed,
    JobTimedOut,
    LedgerError,
    ModelError,
    NoTextInPdf,
    OffloadError,
    ProtocolError,
    SoulError,
    TextError,
    WorkerDied,
    WorkerMissing,
)

__all__ = [
    "AnswerRejected",
    "ArchiveIncomplete",
    "AuthenticationRefused",
    "BinaryDocument",
    "BridgeFailed",
    "CannotRead",
    "CannotWrite",
    "CollectionsMissing",
    "CommandNotFound",
    "CommandTimedOut",
    "ConfigError",
    "ContainerLocked",
    "ContentMissing",
    "DamagedDocument",
    "DiskFull",
    "DoctorFoundProblems",
    "DocumentChanged",
    "DocumentTooLarge",
    "EmptyDocument",
    "EncryptedDocument",
    "EngineUnavailable",
    "FetchFailed",
    "FileError",
    "HostKeyChanged",
    "HostKeyUnknown",
    "HostSilent",
    "HostUnreachable",
    "HubTokenUnusable",
    "HubUnreachable",
    "Interrupted",
    "InvalidSetting",
    "InventoryError",
    "JobTimedOut",
    "KeysError",
    "KeysWrong",
    "LedgerError",
    "LicenceNotAccepted",
    "LinkLost",
    "LxdError",
    "MawError",
    "MirrorBusy",
    "MirrorDiffers",
    "MirrorError",
    "MirrorRuns",
    "Misuse",
    "ModeRefused",
    "ModelError",
    "NoDocuments",
    "NoLxd",
    "NoPool",
    "NoSuchContainer",
    "NoTextInPdf",
    "NotAnArchive",
    "NotFinished",
    "NotOurs",
    "NotThereYet",
    "NothingSucceeded",
    "OffloadError",
    "OriginalAnswers",
    "PartialSuccess",
    "PctConfigError",
    "PlaceholderLeft",
    "PlaybookFailed",
    "ProtocolError",
    "ProvisionBusy",
    "ProvisionError",
    "ProxmoxAuthentication",
    "ProxmoxCertificate",
    "ProxmoxError",
    "ProxmoxPermission",
    "ProxmoxUnreachable",
    "RotationUnfinished",
    "SomeNodesDown",
    "SoulError",
    "TaskFailed",
    "TextError",
    "TokenNeeded",
    "TokenUnusable",
    "TransportError",
    "UnknownEngine",
    "UnknownHost",
    "UnknownMirror",
    "UnknownRepository",
    "UnknownRevision",
    "UnknownSetting",
    "UnsafeArchive",
    "UnsafeWeights",
    "VaultPasswordWrong",
    "WeightsDamaged",
    "WeightsError",
    "WeightsTooLarge",
    "WorkerDied",
    "WorkerMissing",
    "printable",
]
