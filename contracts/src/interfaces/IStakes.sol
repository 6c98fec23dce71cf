// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IEscrow} from "./IEscrow.sol";

/// @title Stakes: who the providers are, and what they put at risk
/// @notice A provider registers its address, the hash of its public description and the keys of its nodes, and may stake.
/// A stake is slashed on evidence that this contract checks by itself, or on the finding of a quorum of auditors, which the
/// provider can appeal and which then needs more of them. Auditors are told at deployment and never change. Nobody else,
/// the guardian included, can touch a stake, and at any time no more than `findingCapBps` of one is held back for findings:
/// the rest leaves when its unbonding is over, which takes longer than an audit and its dispute.
///
/// EIP-712, domain `{ name: "Baseload Stakes", version: "1", chainId, verifyingContract }`. By the node's key (ECDSA only,
/// so that nothing signed can be taken back):
///
/// - `Node(address provider,address node)`: the key agrees to belong to the provider, for good
/// - `Receipt(address node,address gateway,uint64 slot,bytes32 receiptHash)`: what the node did as the `slot`th of its work for
///   the gateway. Two with different hashes: it told two stories of the same work
/// - `Acceptance(address node,uint32 room,bytes32 lease,uint40 from,uint40 until)`: this room of the node is the lease's, from
///   one second to before another. Two that overlap for different leases: it sold the same room twice
///
/// By auditors (ECDSA or EIP-1271):
///
/// - `Finding(address provider,bytes32 finding,uint128 amount)`, `finding` being the hash of what they found
/// - `Confirmation(bytes32 finding)`
interface IStakes is IEscrow {
    /// @dev Fixed at deployment. Times in seconds, shares in hundredths of a percent.
    struct Terms {
        /// @dev How long an audit may take to come to a finding.
        uint40 auditLatency;
        /// @dev How long a provider may appeal.
        uint40 appealWindow;
        /// @dev How long auditors have to confirm an appealed finding before it lapses.
        uint40 confirmWindow;
        /// @dev From asking for a stake to getting it: longer than the three above together.
        uint40 unbonding;
        /// @dev What one piece of evidence takes of a stake.
        uint16 evidenceBps;
        /// @dev What open findings may together hold back of a stake.
        uint16 findingCapBps;
        /// @dev What of an evidence's slash goes to who brought it. The rest is the pool's.
        uint16 reporterBps;
        /// @dev How many auditors make a finding.
        uint8 quorum;
        /// @dev How many confirm an appealed one: more than `quorum`.
        uint8 appealQuorum;
        /// @dev Where slashed money goes.
        address pool;
    }

    struct Provider {
        /// @dev Hash of its public description; 0: not registered.
        bytes32 metadata;
        uint128 bonded;
        /// @dev Asked back, and still at risk.
        uint128 unbonding;
        uint40 unbondedAt;
        /// @dev Held back for open findings.
        uint128 frozen;
    }

    enum State {
        None,
        Open,
        Appealed,
        Executed,
        Lapsed
    }

    struct Case {
        address provider;
        uint40 deadline;
        State state;
        uint128 amount;
    }

    struct Receipt {
        address node;
        address gateway;
        uint64 slot;
        bytes32 receiptHash;
    }

    struct Acceptance {
        address node;
        uint32 room;
        bytes32 lease;
        uint40 from;
        uint40 until;
    }

    /// @dev One auditor's signature. Lists of them rise by address, so that nobody counts twice.
    struct Approval {
        address auditor;
        bytes signature;
    }

    event ProviderRegistered(address indexed provider, bytes32 metadata);
    event NodeAdded(address indexed provider, address indexed node);
    event NodeRetired(address indexed provider, address indexed node);
    event Staked(address indexed provider, address indexed sender, uint128 amount);
    event Unbonding(address indexed provider, uint128 amount, uint40 unbondedAt);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);
    event Slashed(address indexed provider, bytes32 indexed offence, uint128 amount, address reporter, uint128 reward);
    event FindingProposed(address indexed provider, bytes32 indexed finding, uint128 amount, uint40 appealBy);
    event FindingAppealed(address indexed provider, bytes32 indexed finding, uint40 confirmBy);
    event FindingExecuted(address indexed provider, bytes32 indexed finding, uint128 amount);
    event FindingLapsed(address indexed provider, bytes32 indexed finding);

    error TermsInvalid(Terms terms);
    error AuditorsInvalid(uint256 count, uint8 needed);
    error NotRegistered(address provider);
    error MetadataEmpty();
    error NodeTaken(address node, address provider);
    error NotYourNode(address node, address caller);
    error NodeSignatureInvalid(address node, bytes32 digest);
    error StakeTooLow(address provider, uint128 stake, uint128 needed);
    error StillBonded(address provider, uint40 unbondedAt, uint256 timestamp);
    /// @notice No more than `free` can leave now: open findings hold back the rest.
    error StakeFrozen(address provider, uint128 amount, uint128 free);
    error NothingAtStake(address provider);
    /// @notice The two papers do not contradict each other.
    error NoContradiction();
    error OffenceJudged(bytes32 offence);
    error NotAuditor(address auditor);
    error ApprovalsNotRising(address auditor, address previous);
    error ApprovalInvalid(address auditor, bytes32 digest);
    error QuorumMissed(uint256 approvals, uint8 needed);
    error FindingAboveCap(address provider, uint256 frozen, uint256 cap);
    error FindingState(bytes32 finding, State state);
    error NotAccused(bytes32 finding, address caller);
    error DeadlinePassed(bytes32 finding, uint40 deadline, uint256 timestamp);
    error DeadlineNotPassed(bytes32 finding, uint40 deadline, uint256 timestamp);
    error CreditTooLow(address account, uint256 credit, uint256 needed);

    /// @notice Registers the caller as a provider, or changes its description.
    function register(bytes32 metadata) external;

    /// @notice Adds a node's key to the caller's. The key's signature over `Node` says that it agrees.
    function addNode(address node, bytes calldata nodeSignature) external;

    /// @notice Says that the caller uses this key no more. What it signed still counts.
    function retireNode(address node) external;

    /// @notice Adds the caller's tokens to a registered provider's stake.
    function stake(address provider, uint128 amount) external;

    /// @notice Asks for some of the caller's stake back. All that is unbonding waits from now on, and is still at risk.
    function unbond(uint128 amount) external;

    /// @notice Pays out what has unbonded.
    function withdraw(address to, uint128 amount) external;

    /// @notice Slashes the provider of a node that signed two receipts for one slot.
    function slashDoubleReceipt(
        Receipt calldata first,
        bytes calldata firstSignature,
        Receipt calldata second,
        bytes calldata secondSignature
    ) external;

    /// @notice Slashes the provider of a node that accepted two leases for one room at one time.
    function slashFalseAcceptance(
        Acceptance calldata first,
        bytes calldata firstSignature,
        Acceptance calldata second,
        bytes calldata secondSignature
    ) external;

    /// @notice Brings a finding of a quorum of auditors. The amount is held back until the case is over.
    function propose(address provider, bytes32 finding, uint128 amount, Approval[] calldata approvals) external;

    /// @notice The accused provider does not agree: without more auditors' confirmation in time the finding lapses.
    function appeal(bytes32 finding) external;

    /// @notice Executes an appealed finding that enough auditors confirm.
    function confirm(bytes32 finding, Approval[] calldata approvals) external;

    /// @notice Executes a finding that was not appealed in time. For anybody.
    function execute(bytes32 finding) external;

    /// @notice Ends an appealed finding that was not confirmed in time. For anybody.
    function lapse(bytes32 finding) external;

    /// @notice Pays out what slashes have credited to the caller.
    function withdrawCredit(address to, uint256 amount) external;

    function terms() external view returns (Terms memory);
    function providerOf(address provider) external view returns (Provider memory);
    function caseOf(bytes32 finding) external view returns (Case memory);
    function ownerOf(address node) external view returns (address provider);
    function retired(address node) external view returns (bool);
    function isAuditor(address account) external view returns (bool);
    function judged(bytes32 offence) external view returns (bool);
    function creditOf(address account) external view returns (uint256);

    function nodeDigest(address provider, address node) external view returns (bytes32);
    function receiptDigest(Receipt calldata receipt) external view returns (bytes32);
    function acceptanceDigest(Acceptance calldata acceptance) external view returns (bytes32);
    function findingDigest(address provider, bytes32 finding, uint128 amount) external view returns (bytes32);
    function confirmationDigest(bytes32 finding) external view returns (bytes32);
}
