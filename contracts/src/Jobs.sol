// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Escrow} from "./base/Escrow.sol";
import {IJobs} from "./interfaces/IJobs.sol";

/// @dev What it promises stands in IJobs. A job pays several at its end: what the token refuses one of them waits as credit, and
/// holds up nobody else.
contract Jobs is IJobs, Escrow {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    uint40 public constant MIN_WINDOW = 1 hours;
    uint40 public constant MAX_WINDOW = 30 days;
    uint256 public constant MAX_LIFE = 365 days;
    /// @dev All of them are paid in one transaction.
    uint256 public constant MAX_PANEL = 7;
    uint256 public constant MAX_DESCRIPTION = 1024;

    uint256 private constant BPS = 10_000;

    /// @inheritdoc IJobs
    uint256 public jobCount;
    /// @inheritdoc IJobs
    mapping(address account => uint256) public creditOf;

    mapping(uint256 jobId => Job) private _jobs;
    mapping(uint256 jobId => Terms) private _terms;

    constructor(IERC20 token_, address guardian) Escrow(token_, guardian) {}

    /// @inheritdoc IJobs
    function createJob(
        address provider,
        address evaluator,
        uint256 expiredAt,
        string calldata description,
        Terms calldata agreement
    ) external nonReentrant returns (uint256 jobId) {
        if (evaluator == address(0)) revert ZeroAddress();
        uint256 latest = block.timestamp + MAX_LIFE;
        if (expiredAt <= block.timestamp || expiredAt > latest) revert ExpiryInvalid(expiredAt, block.timestamp, latest);
        uint256 length = bytes(description).length;
        if (length > MAX_DESCRIPTION) revert DescriptionTooLong(length, MAX_DESCRIPTION);
        _checkTerms(agreement);
        _checkPanel(agreement.panel, msg.sender, evaluator);

        jobId = ++jobCount;
        Job storage job = _jobs[jobId];
        job.client = msg.sender;
        job.evaluator = evaluator;
        job.expiredAt = uint40(expiredAt);
        job.description = description;
        _terms[jobId] = agreement;
        emit JobCreated(jobId, msg.sender, provider, evaluator, expiredAt);
        if (provider != address(0)) _setProvider(jobId, job, provider);
    }

    /// @inheritdoc IJobs
    function setProvider(uint256 jobId, address provider) external nonReentrant {
        Job storage job = _jobIn(jobId, Status.Open, Stage.None);
        _only(jobId, job.client);
        if (job.provider != address(0)) revert ProviderIsSet(jobId, job.provider);
        if (provider == address(0)) revert ZeroAddress();
        _setProvider(jobId, job, provider);
        emit ProviderSet(jobId, provider);
    }

    /// @inheritdoc IJobs
    function setBudget(uint256 jobId, uint256 amount) external nonReentrant {
        Job storage job = _jobIn(jobId, Status.Open, Stage.None);
        if (msg.sender == job.provider) {
            job.agreed = true;
        } else {
            _only(jobId, job.client);
            if (amount != job.budget) job.agreed = false;
        }
        job.budget = amount.toUint128();
        emit BudgetSet(jobId, amount);
    }

    /// @inheritdoc IJobs
    function postBond(uint256 jobId) external nonReentrant whenNotPaused {
        Job storage job = _jobIn(jobId, Status.Open, Stage.None);
        _only(jobId, job.evaluator);
        if (job.bonded) revert BondIsPosted(jobId, msg.sender);
        job.bonded = true;
        uint128 amount = _terms[jobId].bond;
        emit BondPosted(jobId, msg.sender, amount);
        _pullFromSender(amount);
    }

    /// @inheritdoc IJobs
    function withdrawBond(uint256 jobId) external nonReentrant {
        Job storage job = _jobIn(jobId, Status.Open, Stage.None);
        _only(jobId, job.evaluator);
        if (!job.bonded) revert BondMissing(jobId, msg.sender);
        _returnBond(jobId, job);
    }

    /// @inheritdoc IJobs
    function fund(uint256 jobId, uint256 expectedBudget) external nonReentrant whenNotPaused {
        Job storage job = _jobIn(jobId, Status.Open, Stage.None);
        _only(jobId, job.client);
        uint128 budget = job.budget;
        if (job.provider == address(0)) revert ProviderMissing(jobId);
        if (budget == 0) revert ZeroAmount();
        if (budget != expectedBudget) revert BudgetMismatch(jobId, budget, expectedBudget);
        if (!job.agreed) revert BudgetNotAgreed(jobId, job.provider, budget);
        if (!job.bonded) revert BondMissing(jobId, job.evaluator);
        _beforeExpiry(jobId, job);
        job.status = Status.Funded;
        emit JobFunded(jobId, msg.sender, budget);
        _pullFromSender(budget);
    }

    /// @inheritdoc IJobs
    function submit(uint256 jobId, bytes32 deliverable) external nonReentrant {
        Job storage job = _jobIn(jobId, Status.Funded, Stage.None);
        _only(jobId, job.provider);
        _beforeExpiry(jobId, job);
        job.status = Status.Submitted;
        job.stage = Stage.Evaluation;
        job.deadline = uint40(block.timestamp) + _terms[jobId].evaluationWindow;
        job.deliverable = deliverable;
        emit JobSubmitted(jobId, msg.sender, deliverable);
    }

    /// @inheritdoc IJobs
    function complete(uint256 jobId, bytes32 reason) external nonReentrant {
        _judge(jobId, Verdict.Complete, reason);
    }

    /// @inheritdoc IJobs
    function reject(uint256 jobId, bytes32 reason) external nonReentrant {
        Job storage job = _jobs[jobId];
        if (job.status == Status.Submitted) return _judge(jobId, Verdict.Reject, reason);
        _jobIn(jobId, Status.Open, Stage.None);
        _only(jobId, job.client);
        job.status = Status.Rejected;
        emit JobRejected(jobId, msg.sender, reason);
        if (job.bonded) _returnBond(jobId, job);
    }

    /// @inheritdoc IJobs
    /// @dev Not a deposit that can be paused: it is how a party defends itself.
    function dispute(uint256 jobId) external nonReentrant {
        Job storage job = _jobIn(jobId, Status.Submitted, Stage.Appeal);
        _only(jobId, _loserOf(job));
        _inTime(jobId, job);
        job.disputed = true;
        emit VerdictDisputed(jobId, msg.sender, _toPanel(jobId, job));
        _pullFromSender(_terms[jobId].disputeDeposit);
    }

    /// @inheritdoc IJobs
    function escalate(uint256 jobId) external nonReentrant {
        Job storage job = _jobIn(jobId, Status.Submitted, Stage.Evaluation);
        _afterwards(jobId, job);
        emit EvaluatorSilent(jobId, job.evaluator, _toPanel(jobId, job));
    }

    /// @inheritdoc IJobs
    function vote(uint256 jobId, bool completed, bytes32 reason) external nonReentrant {
        Job storage job = _jobIn(jobId, Status.Submitted, Stage.Panel);
        _inTime(jobId, job);
        address[] storage panel = _terms[jobId].panel;
        uint256 count = panel.length;
        uint256 seat = 0;
        while (seat < count && panel[seat] != msg.sender) {
            seat++;
        }
        if (seat == count) revert NotAllowed(jobId, msg.sender);
        uint8 bit = uint8(1 << seat);
        if (job.voted & bit != 0) revert VotedAlready(jobId, msg.sender);
        job.voted |= bit;
        uint256 votes = completed ? ++job.votesToComplete : ++job.votesToReject;
        emit PanelVoted(jobId, msg.sender, completed, reason);
        if (2 * votes > count) {
            _conclude(jobId, job, completed ? Verdict.Complete : Verdict.Reject, msg.sender, reason);
        }
    }

    /// @inheritdoc IJobs
    function execute(uint256 jobId) external nonReentrant {
        Job storage job = _jobs[jobId];
        if (job.stage == Stage.Appeal) {
            if (msg.sender != _loserOf(job)) _afterwards(jobId, job);
        } else {
            _jobIn(jobId, Status.Submitted, Stage.Panel);
            _afterwards(jobId, job);
        }
        _conclude(jobId, job, Verdict.None, job.evaluator, job.reason);
    }

    /// @inheritdoc IJobs
    function claimRefund(uint256 jobId) external nonReentrant {
        Job storage job = _jobs[jobId];
        Status status = job.status;
        bool waits = job.client != address(0) && (status == Status.Open || status == Status.Funded);
        if (!waits) revert JobState(jobId, status, job.stage);
        if (block.timestamp < job.expiredAt) revert DeadlineNotPassed(jobId, job.expiredAt, block.timestamp);
        job.status = Status.Expired;
        emit JobExpired(jobId);
        if (status == Status.Funded) {
            emit Refunded(jobId, job.client, job.budget);
            _payOrCredit(job.client, job.budget);
        }
        if (job.bonded) _returnBond(jobId, job);
    }

    /// @inheritdoc IJobs
    function withdrawCredit(address to, uint256 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        uint256 credit = creditOf[msg.sender];
        if (credit < amount) revert CreditTooLow(msg.sender, credit, amount);
        creditOf[msg.sender] = credit - amount;
        emit Withdrawn(msg.sender, to, amount);
        _pay(to, amount);
    }

    /// @inheritdoc IJobs
    function getJob(uint256 jobId) external view returns (Job memory) {
        return _jobs[jobId];
    }

    /// @inheritdoc IJobs
    function termsOf(uint256 jobId) external view returns (Terms memory) {
        return _terms[jobId];
    }

    function _checkTerms(Terms calldata agreement) private pure {
        bool sane = _isWindow(agreement.evaluationWindow) && _isWindow(agreement.disputeWindow)
            && _isWindow(agreement.panelWindow) && agreement.bond != 0 && agreement.bond >= agreement.panelFee
            && agreement.disputeDeposit != 0 && agreement.disputeDeposit >= agreement.panelFee && agreement.providerBps < BPS
            && agreement.panel.length <= MAX_PANEL && agreement.panel.length % 2 == 1;
        if (!sane) revert TermsInvalid(agreement);
    }

    function _isWindow(uint40 window) private pure returns (bool) {
        return window >= MIN_WINDOW && window <= MAX_WINDOW;
    }

    function _checkPanel(address[] calldata panel, address client, address evaluator) private pure {
        address last = address(0);
        for (uint256 i = 0; i < panel.length; i++) {
            address member = panel[i];
            if (member <= last || member == client || member == evaluator) revert PanelInvalid(member);
            last = member;
        }
    }

    function _setProvider(uint256 jobId, Job storage job, address provider) private {
        if (provider == job.client || provider == job.evaluator) revert PartiesOverlap(provider);
        address[] storage panel = _terms[jobId].panel;
        for (uint256 i = 0; i < panel.length; i++) {
            if (panel[i] == provider) revert PanelInvalid(provider);
        }
        job.provider = provider;
    }

    function _jobIn(uint256 jobId, Status status, Stage stage) private view returns (Job storage job) {
        job = _jobs[jobId];
        // A job that was never created looks open, and has no client.
        bool matches = job.client != address(0) && job.status == status && job.stage == stage;
        if (!matches) revert JobState(jobId, job.status, job.stage);
    }

    function _only(uint256 jobId, address party) private view {
        if (msg.sender != party) revert NotAllowed(jobId, msg.sender);
    }

    function _beforeExpiry(uint256 jobId, Job storage job) private view {
        if (block.timestamp >= job.expiredAt) revert DeadlinePassed(jobId, job.expiredAt, block.timestamp);
    }

    function _inTime(uint256 jobId, Job storage job) private view {
        if (block.timestamp > job.deadline) revert DeadlinePassed(jobId, job.deadline, block.timestamp);
    }

    function _afterwards(uint256 jobId, Job storage job) private view {
        if (block.timestamp <= job.deadline) revert DeadlineNotPassed(jobId, job.deadline, block.timestamp);
    }

    /// @dev The side that the evaluator's verdict goes against.
    function _loserOf(Job storage job) private view returns (address) {
        return job.verdict == Verdict.Complete ? job.client : job.provider;
    }

    function _judge(uint256 jobId, Verdict verdict, bytes32 reason) private {
        Job storage job = _jobIn(jobId, Status.Submitted, Stage.Evaluation);
        _only(jobId, job.evaluator);
        _inTime(jobId, job);
        job.verdict = verdict;
        job.reason = reason;
        job.stage = Stage.Appeal;
        job.deadline = uint40(block.timestamp) + _terms[jobId].disputeWindow;
        emit VerdictGiven(jobId, msg.sender, verdict == Verdict.Complete, reason, job.deadline);
    }

    function _toPanel(uint256 jobId, Job storage job) private returns (uint40 voteBy) {
        voteBy = uint40(block.timestamp) + _terms[jobId].panelWindow;
        job.stage = Stage.Panel;
        job.deadline = voteBy;
    }

    /// @dev Pays everything out. `majority` is the panel's; None when it has none, or was not asked.
    function _conclude(uint256 jobId, Job storage job, Verdict majority, address by, bytes32 reason) private {
        Verdict outcome = majority == Verdict.None ? job.verdict : majority;
        (uint256 toProvider, uint256 toClient, uint256 toEvaluator) = _shares(jobId, job, outcome, majority);
        if (outcome == Verdict.Complete) {
            job.status = Status.Completed;
            emit JobCompleted(jobId, by, reason);
        } else if (outcome == Verdict.Reject) {
            job.status = Status.Rejected;
            emit JobRejected(jobId, by, reason);
        } else {
            job.status = Status.Expired;
            emit JobExpired(jobId);
        }
        job.stage = Stage.None;
        _payPanel(jobId, job);
        if (toProvider != 0) emit PaymentReleased(jobId, job.provider, toProvider);
        _payOrCredit(job.provider, toProvider);
        if (toClient != 0) emit Refunded(jobId, job.client, toClient);
        _payOrCredit(job.client, toClient);
        if (toEvaluator != 0) emit BondReturned(jobId, job.evaluator, toEvaluator);
        _payOrCredit(job.evaluator, toEvaluator);
    }

    /// @dev Together with what `_payPanel` pays: budget, bond and, if there is one, deposit.
    function _shares(uint256 jobId, Job storage job, Verdict outcome, Verdict majority)
        private
        view
        returns (uint256 toProvider, uint256 toClient, uint256 toEvaluator)
    {
        Terms storage agreement = _terms[jobId];
        uint256 providerBps = agreement.providerBps == 0 ? BPS / 2 : agreement.providerBps;
        uint256 votes = uint256(job.votesToComplete) + job.votesToReject;
        uint256 fees = votes * (agreement.panelFee / agreement.panel.length);
        bool completed = outcome == Verdict.Complete;

        if (completed) toProvider = job.budget;
        else if (outcome == Verdict.None) toProvider = job.budget * providerBps / BPS;
        toClient = job.budget - toProvider;

        if (job.verdict == Verdict.None) {
            // The evaluator was silent: its bond is theirs who waited. A client that is its own evaluator did not.
            uint256 lost = agreement.bond - fees;
            uint256 forProvider = job.evaluator == job.client ? lost : lost * providerBps / BPS;
            return (toProvider + forProvider, toClient + lost - forProvider, 0);
        }
        toEvaluator = agreement.bond;
        if (!job.disputed) return (toProvider, toClient, toEvaluator);

        uint256 deposit = agreement.disputeDeposit;
        bool overruled = outcome != job.verdict;
        if (overruled) toEvaluator -= fees;
        else deposit -= fees;
        // Overruled: the disputer has won, and its deposit with it. Upheld: it is the other side's, who has won. Without a
        // majority, what is left goes back to the disputer, who has lost by the verdict.
        bool toProviderSide = completed == (majority != Verdict.None);
        if (toProviderSide) toProvider += deposit;
        else toClient += deposit;
    }

    function _payPanel(uint256 jobId, Job storage job) private {
        uint256 voted = job.voted;
        if (voted == 0) return;
        address[] storage panel = _terms[jobId].panel;
        uint256 count = panel.length;
        uint256 fee = _terms[jobId].panelFee / count;
        if (fee == 0) return;
        for (uint256 i = 0; i < count; i++) {
            if (voted & (1 << i) == 0) continue;
            emit PanelPaid(jobId, panel[i], fee);
            _payOrCredit(panel[i], fee);
        }
    }

    function _returnBond(uint256 jobId, Job storage job) private {
        job.bonded = false;
        uint128 amount = _terms[jobId].bond;
        emit BondReturned(jobId, job.evaluator, amount);
        _payOrCredit(job.evaluator, amount);
    }

    /// @dev A payment that the token refuses, to an address it blocks, say, holds up nobody: it waits as credit.
    function _payOrCredit(address to, uint256 amount) private {
        if (amount == 0) return;
        held -= amount;
        if (token.trySafeTransfer(to, amount)) return;
        held += amount;
        creditOf[to] += amount;
        emit Credited(to, amount);
    }
}
