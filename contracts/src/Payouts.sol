// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Escrow} from "./base/Escrow.sol";
import {Signatures} from "./base/Signatures.sol";
import {IPayouts} from "./interfaces/IPayouts.sol";

/// @dev What it promises stands in IPayouts. By root and by IOU the same counter is raised, so nothing is paid twice.
contract Payouts is IPayouts, Escrow, EIP712 {
    bytes32 public constant IOU_TYPEHASH = keccak256("Iou(address gateway,address provider,uint32 epoch,uint128 cumulative)");

    uint40 public constant WITHDRAW_PERIOD = 3 days;

    Terms private _terms;
    mapping(address gateway => Gateway) private _gateways;
    mapping(bytes32 gatewayProviderEpochOwed => Challenge) private _challenges;
    mapping(address gateway => Withdrawal) private _withdrawals;

    /// @inheritdoc IPayouts
    mapping(address gateway => mapping(address provider => uint128)) public paidTo;
    /// @inheritdoc IPayouts
    mapping(address account => uint256) public creditOf;

    constructor(IERC20 token_, address guardian, Terms memory terms_) Escrow(token_, guardian) EIP712("Baseload Payouts", "1") {
        bool sane = terms_.challengeWindow >= 1 hours && terms_.challengeWindow <= 24 hours && terms_.answerWindow >= 1 hours
            && terms_.withdrawDelay > terms_.challengeWindow + terms_.answerWindow && terms_.withdrawDelay <= 30 days
            && terms_.penalty > 0 && terms_.penalty <= terms_.minBond;
        if (!sane) revert TermsInvalid(terms_);
        _terms = terms_;
    }

    /// @inheritdoc IPayouts
    function fund(address gateway, uint128 amount) external nonReentrant whenNotPaused {
        if (amount == 0) revert ZeroAmount();
        _gateways[gateway].deposited += amount;
        emit Funded(gateway, msg.sender, amount);
        _pullFromSender(amount);
    }

    /// @inheritdoc IPayouts
    function bond(address gateway, uint128 amount) external nonReentrant whenNotPaused {
        if (amount == 0) revert ZeroAmount();
        _gateways[gateway].bond += amount;
        emit Bonded(gateway, msg.sender, amount);
        _pullFromSender(amount);
    }

    /// @inheritdoc IPayouts
    function postRoot(bytes32 root, uint128 total, uint32 epoch) external nonReentrant {
        Gateway storage gateway = _gateways[msg.sender];
        if (root == 0) revert RootEmpty();
        if (gateway.pendingRoot != 0) {
            if (!_counts(gateway)) revert RootPending(msg.sender, gateway.epoch, _countsFrom(gateway));
            gateway.root = gateway.pendingRoot;
            gateway.total = gateway.pendingTotal;
        }
        if (epoch <= gateway.epoch) revert EpochNotHigher(msg.sender, epoch, gateway.epoch);
        if (total < gateway.total) revert TotalBelowLast(msg.sender, total, gateway.total);
        if (gateway.bond < _terms.minBond) revert BondTooLow(msg.sender, gateway.bond, _terms.minBond);
        // `deposited` is funds and what was paid: all that this total may ever draw.
        if (total > gateway.deposited) revert RootNotCovered(msg.sender, total, gateway.deposited);

        gateway.pendingRoot = root;
        gateway.pendingTotal = total;
        gateway.pendingSince = uint40(block.timestamp);
        gateway.epoch = epoch;
        emit RootPosted(msg.sender, epoch, root, total, _countsFrom(gateway));
    }

    /// @inheritdoc IPayouts
    function claim(address gateway, address provider, uint128 cumulative, bytes32[] calldata proof) external nonReentrant {
        _checkProof(gateway, rootOf(gateway), provider, cumulative, proof);
        _payProvider(gateway, provider, cumulative);
    }

    /// @inheritdoc IPayouts
    function claimByIou(address gateway, address provider, uint32 epoch, uint128 cumulative, bytes calldata signature)
        external
        nonReentrant
    {
        _checkIou(gateway, provider, epoch, cumulative, signature);
        _payProvider(gateway, provider, cumulative);
    }

    /// @inheritdoc IPayouts
    /// @dev Not a deposit that can be paused: it is how a provider defends itself.
    function challenge(address gateway, address provider, uint32 epoch, uint128 cumulative, bytes calldata signature)
        external
        nonReentrant
    {
        Gateway storage state = _gateways[gateway];
        if (state.pendingRoot == 0) revert NoRootPending(gateway);
        if (block.timestamp >= _countsFrom(state)) {
            revert ChallengeWindowOver(gateway, _countsFrom(state), block.timestamp);
        }
        uint32 rootEpoch = state.epoch;
        if (epoch > rootEpoch) revert IouTooNew(epoch, rootEpoch);
        _checkIou(gateway, provider, epoch, cumulative, signature);
        bytes32 key = _challengeKey(gateway, provider, rootEpoch, cumulative);
        if (_challenges[key].answerBy != 0) revert ChallengeExists(gateway, provider, rootEpoch, cumulative);

        uint40 answerBy = uint40(block.timestamp) + _terms.answerWindow;
        _challenges[key] = Challenge(msg.sender, answerBy);
        state.openChallenges += 1;
        emit ChallengeOpened(gateway, provider, rootEpoch, cumulative, answerBy);
        if (_terms.challengeDeposit != 0) _pullFromSender(_terms.challengeDeposit);
    }

    /// @inheritdoc IPayouts
    function answer(address gateway, address provider, uint128 owed, uint128 cumulative, bytes32[] calldata proof)
        external
        nonReentrant
    {
        Gateway storage state = _gateways[gateway];
        Challenge storage opened = _pendingChallenge(gateway, provider, owed);
        if (block.timestamp > opened.answerBy) revert AnswerTooLate(opened.answerBy, block.timestamp);
        if (cumulative < owed) revert AnswerTooLow(cumulative, owed);
        _checkProof(gateway, state.pendingRoot, provider, cumulative, proof);

        opened.challenger = address(0);
        state.openChallenges -= 1;
        state.deposited += _terms.challengeDeposit;
        emit ChallengeAnswered(gateway, provider, state.epoch, cumulative);
    }

    /// @inheritdoc IPayouts
    function voidRoot(address gateway, address provider, uint128 owed) external nonReentrant {
        Gateway storage state = _gateways[gateway];
        Challenge storage opened = _pendingChallenge(gateway, provider, owed);
        if (block.timestamp <= opened.answerBy) revert AnswerNotDue(opened.answerBy, block.timestamp);

        address challenger = opened.challenger;
        uint128 penalty = _terms.penalty < state.bond ? _terms.penalty : state.bond;
        emit RootVoided(gateway, state.epoch, state.pendingRoot, challenger, penalty);
        opened.challenger = address(0);
        state.pendingRoot = 0;
        state.pendingTotal = 0;
        state.openChallenges = 0;
        state.bond -= penalty;
        creditOf[challenger] += uint256(penalty) + _terms.challengeDeposit;
    }

    /// @inheritdoc IPayouts
    function returnChallenge(address gateway, address provider, uint32 epoch, uint128 owed) external nonReentrant {
        Challenge storage opened = _challenges[_challengeKey(gateway, provider, epoch, owed)];
        address challenger = opened.challenger;
        if (challenger == address(0)) revert ChallengeUnknown(gateway, provider, epoch, owed);
        // A root does not come to count over an open challenge: if it is not pending, it was voided.
        Gateway storage state = _gateways[gateway];
        if (state.pendingRoot != 0 && state.epoch == epoch) revert ChallengeOpen(gateway, provider, epoch, owed);
        opened.challenger = address(0);
        creditOf[challenger] += _terms.challengeDeposit;
        emit ChallengeReturned(gateway, provider, epoch, owed, challenger);
    }

    /// @inheritdoc IPayouts
    function requestWithdrawal(uint128 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        uint40 availableAt = uint40(block.timestamp) + _terms.withdrawDelay;
        _withdrawals[msg.sender] = Withdrawal(amount, availableAt);
        emit WithdrawRequested(msg.sender, amount, availableAt);
    }

    /// @inheritdoc IPayouts
    function finishWithdrawal(address to) external nonReentrant {
        Withdrawal memory request = _withdrawals[msg.sender];
        if (request.amount == 0) revert NoWithdrawal(msg.sender);
        if (block.timestamp < request.availableAt) {
            revert WithdrawTooEarly(msg.sender, request.availableAt, block.timestamp);
        }
        uint40 expiresAt = request.availableAt + WITHDRAW_PERIOD;
        if (block.timestamp > expiresAt) revert WithdrawExpired(msg.sender, expiresAt, block.timestamp);
        delete _withdrawals[msg.sender];
        uint128 free = withdrawable(msg.sender);
        uint128 amount = request.amount < free ? request.amount : free;

        Gateway storage state = _gateways[msg.sender];
        uint128 funds = state.deposited - state.paid;
        // Money that a root has laid claim to stays among the funds: there it covers the next root, too.
        uint128 reserved = _reserved(state);
        uint128 fromFunds = funds > reserved ? funds - reserved : 0;
        if (fromFunds > amount) fromFunds = amount;
        state.deposited -= fromFunds;
        state.bond -= amount - fromFunds;
        emit Withdrawn(msg.sender, to, amount);
        if (amount != 0) _pay(to, amount);
    }

    /// @inheritdoc IPayouts
    function withdrawCredit(address to, uint256 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        uint256 credit = creditOf[msg.sender];
        if (credit < amount) revert CreditTooLow(msg.sender, credit, amount);
        creditOf[msg.sender] = credit - amount;
        emit Withdrawn(msg.sender, to, amount);
        _pay(to, amount);
    }

    /// @inheritdoc IPayouts
    function terms() external view returns (Terms memory) {
        return _terms;
    }

    /// @inheritdoc IPayouts
    function gatewayOf(address gateway) external view returns (Gateway memory) {
        return _gateways[gateway];
    }

    /// @inheritdoc IPayouts
    function challengeOf(address gateway, address provider, uint32 epoch, uint128 owed) external view returns (Challenge memory) {
        return _challenges[_challengeKey(gateway, provider, epoch, owed)];
    }

    /// @inheritdoc IPayouts
    function withdrawalOf(address gateway) external view returns (Withdrawal memory) {
        return _withdrawals[gateway];
    }

    /// @inheritdoc IPayouts
    function rootOf(address gateway) public view returns (bytes32) {
        Gateway storage state = _gateways[gateway];
        return _counts(state) ? state.pendingRoot : state.root;
    }

    /// @inheritdoc IPayouts
    function withdrawable(address gateway) public view returns (uint128) {
        Gateway storage state = _gateways[gateway];
        uint256 all = uint256(state.deposited - state.paid) + state.bond;
        uint256 kept = _reserved(state);
        // A root that can still be challenged needs its bond.
        if (state.pendingRoot != 0 && !_counts(state)) {
            kept += state.bond < _terms.minBond ? state.bond : _terms.minBond;
        }
        return all > kept ? uint128(all - kept) : 0;
    }

    /// @inheritdoc IPayouts
    function iouDigest(address gateway, address provider, uint32 epoch, uint128 cumulative) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(IOU_TYPEHASH, gateway, provider, epoch, cumulative)));
    }

    /// @dev What the higher of both roots has laid claim to and was not paid yet.
    function _reserved(Gateway storage state) private view returns (uint128) {
        uint128 total = state.pendingTotal > state.total ? state.pendingTotal : state.total;
        return total > state.paid ? total - state.paid : 0;
    }

    function _countsFrom(Gateway storage state) private view returns (uint40) {
        return state.pendingSince + _terms.challengeWindow;
    }

    function _counts(Gateway storage state) private view returns (bool) {
        return state.pendingRoot != 0 && state.openChallenges == 0 && block.timestamp >= _countsFrom(state);
    }

    function _challengeKey(address gateway, address provider, uint32 epoch, uint128 owed) private pure returns (bytes32) {
        return keccak256(abi.encode(gateway, provider, epoch, owed));
    }

    function _pendingChallenge(address gateway, address provider, uint128 owed) private view returns (Challenge storage opened) {
        Gateway storage state = _gateways[gateway];
        if (state.pendingRoot == 0) revert NoRootPending(gateway);
        opened = _challenges[_challengeKey(gateway, provider, state.epoch, owed)];
        if (opened.challenger == address(0)) revert ChallengeUnknown(gateway, provider, state.epoch, owed);
    }

    function _checkProof(address gateway, bytes32 root, address provider, uint128 cumulative, bytes32[] calldata proof)
        private
        pure
    {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(provider, cumulative))));
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert ProofInvalid(gateway, provider, cumulative);
    }

    function _checkIou(address gateway, address provider, uint32 epoch, uint128 cumulative, bytes calldata signature)
        private
        view
    {
        bytes32 digest = iouDigest(gateway, provider, epoch, cumulative);
        if (!Signatures.isValid(gateway, digest, signature)) {
            revert IouSignatureInvalid(gateway, provider, epoch, cumulative);
        }
    }

    /// @dev Draws on the funds, then on the bond; pays what there is when both are too little, and the rest stays due.
    function _payProvider(address gateway, address provider, uint128 cumulative) private {
        uint128 paid = paidTo[gateway][provider];
        if (cumulative <= paid) revert NothingDue(gateway, provider, cumulative, paid);
        uint128 amount = cumulative - paid;
        Gateway storage state = _gateways[gateway];
        uint128 funds = state.deposited - state.paid;
        if (amount > funds) {
            uint128 fromBond = amount - funds < state.bond ? amount - funds : state.bond;
            if (funds + fromBond == 0) revert GatewayEmpty(gateway, amount);
            amount = funds + fromBond;
            state.bond -= fromBond;
            state.deposited += fromBond;
        }
        state.paid += amount;
        paidTo[gateway][provider] = paid + amount;
        emit Claimed(gateway, provider, amount, paid + amount);
        _pay(provider, amount);
    }
}
