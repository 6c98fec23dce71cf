// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IEscrow} from "./IEscrow.sol";

/// @title Jobs: one piece of work, paid when it is judged
/// @notice States, names and events are those of ERC-8183 (Agentic Commerce, draft of 2026-02-25). A client deposits a budget, a
/// provider submits, an evaluator judges. In the ERC a silent evaluator lets `expiredAt` pass, and then the client gets the
/// money back for work that was delivered. Here:
///
/// - An evaluator puts up a bond. It comes back for a verdict in time, and is lost to both sides when none comes.
/// - Expiry ends only what was not submitted. A submission starts a time of its own, within which the evaluator judges.
/// - When that is over, anybody passes the job to a panel, whose addresses stand in the job. More than half of all its members
///   decide. Each vote is paid its part of `panelFee`, by whoever was wrong: the silent or overruled evaluator, or the side
///   that disputed in vain.
/// - When the panel has no majority in time, either, both sides are paid by a split that was agreed before. No split gives one
///   side everything.
/// - The side that a verdict goes against may dispute it, with a deposit, before the panel. Without a dispute, anybody executes
///   the verdict. A panel without a majority leaves a verdict as it is.
///
/// From every state time alone leads to one in which everything is paid out, and anybody may take the steps. Terms cannot
/// change. Both sides agree to them, and to the budget: the provider by setting it, the client by funding it. The evaluator
/// agrees by its bond.
///
/// Left out of the ERC: hooks, and with them `optParams` (both are optional there), and the evaluator's `reject` before anything
/// was submitted. `complete` and `reject` pay nothing yet; `execute` does, and `JobCompleted` or `JobRejected` come with it. Until
/// then a job counts as Submitted.
interface IJobs is IEscrow {
    /// @dev As ERC-8183 numbers them. Expired is also what ends by the split.
    enum Status {
        Open,
        Funded,
        Submitted,
        Completed,
        Rejected,
        Expired
    }

    /// @dev What a submitted job waits for.
    enum Stage {
        None,
        Evaluation,
        Appeal,
        Panel
    }

    enum Verdict {
        None,
        Complete,
        Reject
    }

    /// @dev Fixed when the job is created. Windows in seconds, 1 hour to 30 days; amounts in units of the token.
    struct Terms {
        /// @dev What the evaluator puts up: at least `panelFee`, and not 0.
        uint128 bond;
        /// @dev What the whole panel gets when all its members vote.
        uint128 panelFee;
        /// @dev What a dispute takes from who disputes: at least `panelFee`, and not 0.
        uint128 disputeDeposit;
        /// @dev From the submission to the evaluator's last moment.
        uint40 evaluationWindow;
        /// @dev From the verdict to the last moment for a dispute.
        uint40 disputeWindow;
        uint40 panelWindow;
        /// @dev The provider's part when neither evaluator nor panel speak, in hundredths of a percent, below 10,000. 0 stands for
        /// half.
        uint16 providerBps;
        /// @dev 1, 3, 5 or 7 addresses that rise. None is a party to the job.
        address[] panel;
    }

    struct Job {
        address client;
        uint40 expiredAt;
        Status status;
        Stage stage;
        /// @dev The evaluator's.
        Verdict verdict;
        bool disputed;
        /// @dev The provider has set this budget.
        bool agreed;
        bool bonded;
        /// @dev 0 until it is known.
        address provider;
        /// @dev The last moment of the stage.
        uint40 deadline;
        uint8 votesToComplete;
        uint8 votesToReject;
        /// @dev Bit i: the panel's member i has voted.
        uint8 voted;
        address evaluator;
        uint128 budget;
        bytes32 deliverable;
        /// @dev The evaluator's.
        bytes32 reason;
        string description;
    }

    event JobCreated(
        uint256 indexed jobId, address indexed client, address indexed provider, address evaluator, uint256 expiredAt
    );
    event ProviderSet(uint256 indexed jobId, address indexed provider);
    event BudgetSet(uint256 indexed jobId, uint256 amount);
    event JobFunded(uint256 indexed jobId, address indexed client, uint256 amount);
    event JobSubmitted(uint256 indexed jobId, address indexed provider, bytes32 deliverable);
    /// @notice `evaluator` is who decided: the evaluator, or the panel's member whose vote made the majority.
    event JobCompleted(uint256 indexed jobId, address indexed evaluator, bytes32 reason);
    /// @notice `rejector` is the client of an open job, or who decided, as above.
    event JobRejected(uint256 indexed jobId, address indexed rejector, bytes32 reason);
    event JobExpired(uint256 indexed jobId);
    /// @notice All that the provider gets: budget, and what it is due of bond and deposit.
    event PaymentReleased(uint256 indexed jobId, address indexed provider, uint256 amount);
    /// @notice All that the client gets, likewise.
    event Refunded(uint256 indexed jobId, address indexed client, uint256 amount);

    // What ERC-8183 has not:
    event BondPosted(uint256 indexed jobId, address indexed evaluator, uint256 amount);
    event BondReturned(uint256 indexed jobId, address indexed evaluator, uint256 amount);
    event VerdictGiven(
        uint256 indexed jobId, address indexed evaluator, bool indexed completed, bytes32 reason, uint40 disputeBy
    );
    event VerdictDisputed(uint256 indexed jobId, address indexed disputer, uint40 voteBy);
    event EvaluatorSilent(uint256 indexed jobId, address indexed evaluator, uint40 voteBy);
    event PanelVoted(uint256 indexed jobId, address indexed member, bool indexed completed, bytes32 reason);
    event PanelPaid(uint256 indexed jobId, address indexed member, uint256 amount);
    /// @notice The token refused a payment: the amount waits here.
    event Credited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    error TermsInvalid(Terms terms);
    /// @notice Panels rise by address, so that nobody sits twice, and none of them is a party.
    error PanelInvalid(address member);
    /// @notice One address cannot be both: client and provider, or evaluator and provider.
    error PartiesOverlap(address party);
    error DescriptionTooLong(uint256 length, uint256 most);
    error ExpiryInvalid(uint256 expiredAt, uint256 timestamp, uint256 latest);
    error JobState(uint256 jobId, Status status, Stage stage);
    error NotAllowed(uint256 jobId, address caller);
    error ProviderIsSet(uint256 jobId, address provider);
    error ProviderMissing(uint256 jobId);
    error BudgetMismatch(uint256 jobId, uint256 budget, uint256 expected);
    /// @notice The provider has not set this budget.
    error BudgetNotAgreed(uint256 jobId, address provider, uint256 budget);
    error BondMissing(uint256 jobId, address evaluator);
    error BondIsPosted(uint256 jobId, address evaluator);
    error DeadlinePassed(uint256 jobId, uint256 deadline, uint256 timestamp);
    error DeadlineNotPassed(uint256 jobId, uint256 deadline, uint256 timestamp);
    error VotedAlready(uint256 jobId, address member);
    error CreditTooLow(address account, uint256 credit, uint256 needed);

    /// @notice Creates a job of the caller's. `provider` may be 0: then `setProvider` names it. `evaluator` may be the caller.
    /// `expiredAt` is in the future, a year at most; `description` has 1,024 bytes at most.
    function createJob(
        address provider,
        address evaluator,
        uint256 expiredAt,
        string calldata description,
        Terms calldata agreement
    ) external returns (uint256 jobId);

    /// @notice Names the provider of an open job that has none. Only the client.
    function setProvider(uint256 jobId, address provider) external;

    /// @notice Proposes a budget, by client or provider. The provider's stands as agreed until the client sets another.
    function setBudget(uint256 jobId, uint256 amount) external;

    /// @notice Puts up the bond of an open job. Only its evaluator, who agrees to judge it by this.
    function postBond(uint256 jobId) external;

    /// @notice Takes the bond back while the job is open. Only its evaluator.
    function withdrawBond(uint256 jobId) external;

    /// @notice Deposits the budget. Only the client, once the provider has agreed and the bond is there, before expiry.
    function fund(uint256 jobId, uint256 expectedBudget) external;

    /// @notice Says what was delivered. Only the provider, before expiry. The evaluator's time starts.
    function submit(uint256 jobId, bytes32 deliverable) external;

    /// @notice Judges a submission good. Only the evaluator, in time. The client may dispute it.
    function complete(uint256 jobId, bytes32 reason) external;

    /// @notice Judges a submission bad, as `complete` does; the provider may dispute it. The client ends an open job by this.
    function reject(uint256 jobId, bytes32 reason) external;

    /// @notice Passes a verdict to the panel. Only the side it goes against, in time. Takes the deposit from the caller.
    function dispute(uint256 jobId) external;

    /// @notice Passes a job to the panel when its evaluator's time is over. For anybody.
    function escalate(uint256 jobId) external;

    /// @notice A vote of the panel. The one that makes more than half of all members ends the job.
    function vote(uint256 jobId, bool completed, bytes32 reason) external;

    /// @notice Ends what time has decided: a verdict that nobody disputed, or a panel without a majority. For anybody. The side
    /// that may dispute a verdict accepts it by this at once.
    function execute(uint256 jobId) external;

    /// @notice Ends what was not submitted by `expiredAt`: budget to the client, bond to the evaluator. For anybody.
    function claimRefund(uint256 jobId) external;

    /// @notice Pays what the token refused to pay the caller, to another address.
    function withdrawCredit(address to, uint256 amount) external;

    function jobCount() external view returns (uint256);
    function getJob(uint256 jobId) external view returns (Job memory);
    function termsOf(uint256 jobId) external view returns (Terms memory);
    function creditOf(address account) external view returns (uint256);
}
