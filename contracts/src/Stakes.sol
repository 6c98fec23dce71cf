// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Escrow} from "./base/Escrow.sol";
import {Signatures} from "./base/Signatures.sol";
import {IStakes} from "./interfaces/IStakes.sol";

/// @dev What it promises stands in IStakes.
contract Stakes is IStakes, Escrow, EIP712 {
    bytes32 public constant NODE_TYPEHASH = keccak256("Node(address provider,address node)");
    bytes32 public constant RECEIPT_TYPEHASH = keccak256("Receipt(address node,address gateway,uint64 slot,bytes32 receiptHash)");
    bytes32 public constant ACCEPTANCE_TYPEHASH =
        keccak256("Acceptance(address node,uint32 room,bytes32 lease,uint40 from,uint40 until)");
    bytes32 public constant FINDING_TYPEHASH = keccak256("Finding(address provider,bytes32 finding,uint128 amount)");
    bytes32 public constant CONFIRMATION_TYPEHASH = keccak256("Confirmation(bytes32 finding)");

    uint256 private constant BPS = 10_000;

    Terms private _terms;
    mapping(address provider => Provider) private _providers;
    mapping(bytes32 finding => Case) private _cases;

    /// @inheritdoc IStakes
    mapping(address node => address provider) public ownerOf;
    /// @inheritdoc IStakes
    mapping(address node => bool) public retired;
    /// @inheritdoc IStakes
    mapping(address account => bool) public isAuditor;
    /// @inheritdoc IStakes
    mapping(bytes32 offence => bool) public judged;
    /// @inheritdoc IStakes
    mapping(address account => uint256) public creditOf;

    constructor(IERC20 token_, address guardian, Terms memory terms_, address[] memory auditors)
        Escrow(token_, guardian)
        EIP712("Baseload Stakes", "1")
    {
        bool sane = terms_.pool != address(0) && terms_.appealWindow >= 1 hours && terms_.confirmWindow >= 1 hours
            && terms_.unbonding > uint256(terms_.auditLatency) + terms_.appealWindow + terms_.confirmWindow
            && terms_.unbonding <= 90 days && terms_.evidenceBps > 0 && terms_.evidenceBps <= BPS && terms_.findingCapBps <= BPS
            && terms_.reporterBps <= BPS / 2 && terms_.quorum > 0 && terms_.appealQuorum > terms_.quorum;
        if (!sane) revert TermsInvalid(terms_);
        _terms = terms_;
        uint256 count = 0;
        for (uint256 i = 0; i < auditors.length; i++) {
            if (auditors[i] == address(0)) revert ZeroAddress();
            if (!isAuditor[auditors[i]]) count++;
            isAuditor[auditors[i]] = true;
        }
        if (count < terms_.appealQuorum) revert AuditorsInvalid(count, terms_.appealQuorum);
    }

    /// @inheritdoc IStakes
    function register(bytes32 metadata) external nonReentrant {
        if (metadata == 0) revert MetadataEmpty();
        _providers[msg.sender].metadata = metadata;
        emit ProviderRegistered(msg.sender, metadata);
    }

    /// @inheritdoc IStakes
    function addNode(address node, bytes calldata nodeSignature) external nonReentrant {
        _registered(msg.sender);
        if (ownerOf[node] != address(0)) revert NodeTaken(node, ownerOf[node]);
        _checkNode(node, nodeDigest(msg.sender, node), nodeSignature);
        ownerOf[node] = msg.sender;
        emit NodeAdded(msg.sender, node);
    }

    /// @inheritdoc IStakes
    function retireNode(address node) external nonReentrant {
        if (ownerOf[node] != msg.sender) revert NotYourNode(node, msg.sender);
        retired[node] = true;
        emit NodeRetired(msg.sender, node);
    }

    /// @inheritdoc IStakes
    function stake(address provider, uint128 amount) external nonReentrant whenNotPaused {
        if (amount == 0) revert ZeroAmount();
        _registered(provider).bonded += amount;
        emit Staked(provider, msg.sender, amount);
        _pullFromSender(amount);
    }

    /// @inheritdoc IStakes
    function unbond(uint128 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        Provider storage provider = _registered(msg.sender);
        if (amount > provider.bonded) revert StakeTooLow(msg.sender, provider.bonded, amount);
        provider.bonded -= amount;
        provider.unbonding += amount;
        provider.unbondedAt = uint40(block.timestamp) + _terms.unbonding;
        emit Unbonding(msg.sender, amount, provider.unbondedAt);
    }

    /// @inheritdoc IStakes
    function withdraw(address to, uint128 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        Provider storage provider = _registered(msg.sender);
        if (amount > provider.unbonding) revert StakeTooLow(msg.sender, provider.unbonding, amount);
        if (block.timestamp < provider.unbondedAt) {
            revert StillBonded(msg.sender, provider.unbondedAt, block.timestamp);
        }
        uint128 all = provider.bonded + provider.unbonding;
        uint128 free = all > provider.frozen ? all - provider.frozen : 0;
        if (amount > free) revert StakeFrozen(msg.sender, amount, free);
        provider.unbonding -= amount;
        emit Withdrawn(msg.sender, to, amount);
        _pay(to, amount);
    }

    /// @inheritdoc IStakes
    function slashDoubleReceipt(
        Receipt calldata first,
        bytes calldata firstSignature,
        Receipt calldata second,
        bytes calldata secondSignature
    ) external nonReentrant {
        bool sameSlot =
            first.node == second.node && first.gateway == second.gateway && first.slot == second.slot;
        if (!sameSlot || first.receiptHash == second.receiptHash) revert NoContradiction();
        _checkNode(first.node, receiptDigest(first), firstSignature);
        _checkNode(second.node, receiptDigest(second), secondSignature);
        // One offence a slot, however many stories were told of it.
        _slashByEvidence(first.node, keccak256(abi.encode(RECEIPT_TYPEHASH, first.node, first.gateway, first.slot)));
    }

    /// @inheritdoc IStakes
    function slashFalseAcceptance(
        Acceptance calldata first,
        bytes calldata firstSignature,
        Acceptance calldata second,
        bytes calldata secondSignature
    ) external nonReentrant {
        bool sameRoom =
            first.node == second.node && first.room == second.room && first.lease != second.lease;
        uint40 from = first.from > second.from ? first.from : second.from;
        uint40 until = first.until < second.until ? first.until : second.until;
        if (!sameRoom || from >= until) revert NoContradiction();
        _checkNode(first.node, acceptanceDigest(first), firstSignature);
        _checkNode(second.node, acceptanceDigest(second), secondSignature);
        // One offence for two leases in one room, whichever comes first and however often the node repeated itself.
        (bytes32 low, bytes32 high) = first.lease < second.lease ? (first.lease, second.lease) : (second.lease, first.lease);
        _slashByEvidence(first.node, keccak256(abi.encode(ACCEPTANCE_TYPEHASH, first.node, first.room, low, high)));
    }

    /// @inheritdoc IStakes
    function propose(address provider, bytes32 finding, uint128 amount, Approval[] calldata approvals) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        Case storage opened = _cases[finding];
        if (opened.state != State.None) revert FindingState(finding, opened.state);
        Provider storage accused = _registered(provider);
        uint256 cap = (uint256(accused.bonded) + accused.unbonding) * _terms.findingCapBps / BPS;
        uint256 frozen = uint256(accused.frozen) + amount;
        if (frozen > cap) revert FindingAboveCap(provider, frozen, cap);
        _checkApprovals(findingDigest(provider, finding, amount), approvals, _terms.quorum);

        uint40 appealBy = uint40(block.timestamp) + _terms.appealWindow;
        accused.frozen += amount;
        _cases[finding] = Case(provider, appealBy, State.Open, amount);
        emit FindingProposed(provider, finding, amount, appealBy);
    }

    /// @inheritdoc IStakes
    function appeal(bytes32 finding) external nonReentrant {
        Case storage opened = _caseIn(finding, State.Open);
        if (msg.sender != opened.provider) revert NotAccused(finding, msg.sender);
        if (block.timestamp > opened.deadline) revert DeadlinePassed(finding, opened.deadline, block.timestamp);
        opened.state = State.Appealed;
        opened.deadline = uint40(block.timestamp) + _terms.confirmWindow;
        emit FindingAppealed(msg.sender, finding, opened.deadline);
    }

    /// @inheritdoc IStakes
    function confirm(bytes32 finding, Approval[] calldata approvals) external nonReentrant {
        Case storage opened = _caseIn(finding, State.Appealed);
        if (block.timestamp > opened.deadline) revert DeadlinePassed(finding, opened.deadline, block.timestamp);
        _checkApprovals(confirmationDigest(finding), approvals, _terms.appealQuorum);
        _execute(opened, finding);
    }

    /// @inheritdoc IStakes
    function execute(bytes32 finding) external nonReentrant {
        Case storage opened = _caseIn(finding, State.Open);
        if (block.timestamp <= opened.deadline) revert DeadlineNotPassed(finding, opened.deadline, block.timestamp);
        _execute(opened, finding);
    }

    /// @inheritdoc IStakes
    function lapse(bytes32 finding) external nonReentrant {
        Case storage opened = _caseIn(finding, State.Appealed);
        if (block.timestamp <= opened.deadline) revert DeadlineNotPassed(finding, opened.deadline, block.timestamp);
        opened.state = State.Lapsed;
        _providers[opened.provider].frozen -= opened.amount;
        emit FindingLapsed(opened.provider, finding);
    }

    /// @inheritdoc IStakes
    function withdrawCredit(address to, uint256 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        uint256 credit = creditOf[msg.sender];
        if (credit < amount) revert CreditTooLow(msg.sender, credit, amount);
        creditOf[msg.sender] = credit - amount;
        emit Withdrawn(msg.sender, to, amount);
        _pay(to, amount);
    }

    /// @inheritdoc IStakes
    function terms() external view returns (Terms memory) {
        return _terms;
    }

    /// @inheritdoc IStakes
    function providerOf(address provider) external view returns (Provider memory) {
        return _providers[provider];
    }

    /// @inheritdoc IStakes
    function caseOf(bytes32 finding) external view returns (Case memory) {
        return _cases[finding];
    }

    /// @inheritdoc IStakes
    function nodeDigest(address provider, address node) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(NODE_TYPEHASH, provider, node)));
    }

    /// @inheritdoc IStakes
    function receiptDigest(Receipt calldata receipt) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RECEIPT_TYPEHASH, receipt)));
    }

    /// @inheritdoc IStakes
    function acceptanceDigest(Acceptance calldata acceptance) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(ACCEPTANCE_TYPEHASH, acceptance)));
    }

    /// @inheritdoc IStakes
    function findingDigest(address provider, bytes32 finding, uint128 amount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(FINDING_TYPEHASH, provider, finding, amount)));
    }

    /// @inheritdoc IStakes
    function confirmationDigest(bytes32 finding) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CONFIRMATION_TYPEHASH, finding)));
    }

    function _registered(address provider) private view returns (Provider storage registered) {
        registered = _providers[provider];
        if (registered.metadata == 0) revert NotRegistered(provider);
    }

    function _caseIn(bytes32 finding, State state) private view returns (Case storage opened) {
        opened = _cases[finding];
        if (opened.state != state) revert FindingState(finding, opened.state);
    }

    function _checkNode(address node, bytes32 digest, bytes calldata signature) private pure {
        if (!Signatures.isByKey(node, digest, signature)) revert NodeSignatureInvalid(node, digest);
    }

    function _checkApprovals(bytes32 digest, Approval[] calldata approvals, uint8 needed) private view {
        if (approvals.length < needed) revert QuorumMissed(approvals.length, needed);
        address previous = address(0);
        for (uint256 i = 0; i < approvals.length; i++) {
            address auditor = approvals[i].auditor;
            if (auditor <= previous) revert ApprovalsNotRising(auditor, previous);
            if (!isAuditor[auditor]) revert NotAuditor(auditor);
            if (!Signatures.isValid(auditor, digest, approvals[i].signature)) {
                revert ApprovalInvalid(auditor, digest);
            }
            previous = auditor;
        }
    }

    function _slashByEvidence(address node, bytes32 offence) private {
        address provider = ownerOf[node];
        if (judged[offence]) revert OffenceJudged(offence);
        Provider storage guilty = _registered(provider);
        uint256 all = uint256(guilty.bonded) + guilty.unbonding;
        uint128 amount = uint128(all * _terms.evidenceBps / BPS);
        if (amount == 0) revert NothingAtStake(provider);
        judged[offence] = true;
        _take(guilty, amount);
        uint128 reward = uint128(uint256(amount) * _terms.reporterBps / BPS);
        creditOf[msg.sender] += reward;
        creditOf[_terms.pool] += amount - reward;
        emit Slashed(provider, offence, amount, msg.sender, reward);
    }

    function _execute(Case storage opened, bytes32 finding) private {
        opened.state = State.Executed;
        Provider storage guilty = _providers[opened.provider];
        guilty.frozen -= opened.amount;
        // Evidence may have taken some of what was held back.
        uint128 all = guilty.bonded + guilty.unbonding;
        uint128 amount = opened.amount < all ? opened.amount : all;
        _take(guilty, amount);
        creditOf[_terms.pool] += amount;
        emit FindingExecuted(opened.provider, finding, amount);
    }

    /// @dev What is about to leave last of all: first what is bonded, then what is unbonding.
    function _take(Provider storage guilty, uint128 amount) private {
        uint128 fromBonded = amount < guilty.bonded ? amount : guilty.bonded;
        guilty.bonded -= fromBonded;
        guilty.unbonding -= amount - fromBonded;
    }
}
