// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Escrow} from "./base/Escrow.sol";
import {LeaseSplit} from "./base/LeaseSplit.sol";
import {Signatures} from "./base/Signatures.sol";
import {ILeases} from "./interfaces/ILeases.sol";

/// @dev What it promises stands in ILeases.
contract Leases is ILeases, Escrow, EIP712 {
    bytes32 public constant ORDER_TYPEHASH = keccak256(
        "Order(address tenant,address gateway,bytes32 terms,uint96 maxRate,uint128 deposit,uint32 minNotice,uint40 openBy,bytes32 salt)"
    );
    bytes32 public constant BID_TYPEHASH =
        keccak256("Bid(bytes32 order,address provider,bytes32 node,uint96 rate,uint32 notice,uint40 openBy)");
    bytes32 public constant CLOSE_TYPEHASH = keccak256("Close(bytes32 lease)");

    /// @dev Kept for a lease that is over while its order could still open it again. No struct hashes to it.
    bytes32 private constant OVER = bytes32(uint256(1));

    /// @dev The low bits of a slot hold a time. 216 bits of hash are left: a collision is 2^108 hashes away.
    uint256 private constant TIME_BITS = 40;

    /// @notice Atto-dollars to a unit of the token.
    uint256 public immutable scale;

    /// @inheritdoc ILeases
    mapping(address account => uint256) public balanceOf;
    /// @inheritdoc ILeases
    mapping(bytes32 id => bytes32) public slotOf;

    constructor(IERC20Metadata token_, address guardian) Escrow(token_, guardian) EIP712("Baseload Leases", "1") {
        uint8 decimals = token_.decimals();
        if (decimals > 18) revert TooManyDecimals(decimals, 18);
        scale = 10 ** (18 - decimals);
    }

    /// @inheritdoc ILeases
    function deposit(address account, uint128 amount) external nonReentrant whenNotPaused {
        if (amount == 0) revert ZeroAmount();
        if (account == address(0)) revert ZeroAddress();
        balanceOf[account] += amount;
        emit Deposited(account, msg.sender, amount);
        _pullFromSender(amount);
    }

    /// @inheritdoc ILeases
    function withdraw(address to, uint256 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        _debit(msg.sender, amount);
        emit Withdrawn(msg.sender, to, amount);
        _pay(to, amount);
    }

    /// @inheritdoc ILeases
    function open(Opening calldata opening) external nonReentrant returns (bytes32 id) {
        return _open(opening);
    }

    /// @inheritdoc ILeases
    function openMany(Opening[] calldata openings) external nonReentrant {
        for (uint256 i = 0; i < openings.length; i++) {
            _open(openings[i]);
        }
    }

    /// @inheritdoc ILeases
    function topUp(bytes32 id, Lease calldata lease, uint128 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        uint40 settledAt = _find(id, lease);
        if (msg.sender != lease.tenant) revert NotTenant(id, msg.sender);
        if (lease.endsAt != 0 && block.timestamp >= lease.endsAt) revert NoticeOver(id, lease.endsAt);
        if (_earned(lease) == lease.deposit) revert LeaseRanOut(id, lease.deposit);
        _debit(msg.sender, amount);
        Lease memory changed = lease;
        changed.deposit += amount;
        slotOf[id] = _slot(abi.encode(changed), settledAt);
        emit LeaseChanged(id, changed);
    }

    /// @inheritdoc ILeases
    function settle(bytes32 id, Lease calldata lease) external nonReentrant {
        uint40 settledAt = _find(id, lease);
        (uint128 toProvider,) = LeaseSplit.split(lease.deposit, _accrued(lease, settledAt), _earned(lease));
        if (toProvider == 0) return;
        slotOf[id] = _slot(abi.encode(lease), uint40(block.timestamp));
        balanceOf[lease.provider] += toProvider;
        emit LeaseSettled(id, toProvider, uint40(block.timestamp));
    }

    /// @inheritdoc ILeases
    function giveNotice(bytes32 id, Lease calldata lease) external nonReentrant {
        uint40 settledAt = _find(id, lease);
        if (msg.sender != lease.provider) revert NotProvider(id, msg.sender);
        if (lease.endsAt != 0) revert NoticeGiven(id, lease.endsAt);
        Lease memory changed = lease;
        changed.endsAt = uint40(block.timestamp) + lease.notice;
        slotOf[id] = _slot(abi.encode(changed), settledAt);
        emit LeaseChanged(id, changed);
    }

    /// @inheritdoc ILeases
    function close(Closing calldata closing) external nonReentrant {
        _close(closing);
    }

    /// @inheritdoc ILeases
    function closeMany(Closing[] calldata closings) external nonReentrant {
        for (uint256 i = 0; i < closings.length; i++) {
            _close(closings[i]);
        }
    }

    /// @inheritdoc ILeases
    function accrued(Lease calldata lease, uint40 timestamp) external view returns (uint128) {
        return _accrued(lease, timestamp);
    }

    /// @inheritdoc ILeases
    function orderId(Order calldata order) public pure returns (bytes32) {
        // A struct of static fields is encoded as they follow each other: typehash first, then the struct.
        return keccak256(abi.encode(ORDER_TYPEHASH, order));
    }

    /// @inheritdoc ILeases
    function orderDigest(Order calldata order) external view returns (bytes32) {
        return _hashTypedDataV4(orderId(order));
    }

    /// @inheritdoc ILeases
    function bidDigest(bytes32 id, Bid calldata bid) external view returns (bytes32) {
        return _bidDigest(id, bid);
    }

    /// @inheritdoc ILeases
    function closeDigest(bytes32 id) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CLOSE_TYPEHASH, id)));
    }

    function _bidDigest(bytes32 id, Bid memory bid) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(BID_TYPEHASH, id, bid)));
    }

    function _open(Opening calldata opening) private returns (bytes32 id) {
        // In memory, because fields of calldata are checked anew each time they are read.
        Order memory order = opening.order;
        Bid memory bid = opening.bid;
        id = keccak256(abi.encode(ORDER_TYPEHASH, order));
        if (block.timestamp > order.openBy) revert OrderExpired(id, order.openBy, block.timestamp);
        if (block.timestamp > bid.openBy) revert BidExpired(id, bid.openBy, block.timestamp);
        if (order.gateway != address(0) && msg.sender != order.gateway) {
            revert NotGateway(id, msg.sender, order.gateway);
        }
        if (bid.rate > order.maxRate) revert RateAboveOrder(id, bid.rate, order.maxRate);
        if (bid.notice < order.minNotice) revert NoticeBelowOrder(id, bid.notice, order.minNotice);
        if (slotOf[id] != 0) revert LeaseExists(id);
        if (!Signatures.isValid(order.tenant, _hashTypedDataV4(id), opening.tenantSignature)) {
            revert OrderSignatureInvalid(id, order.tenant);
        }
        if (!Signatures.isValid(bid.provider, _bidDigest(id, bid), opening.providerSignature)) {
            revert BidSignatureInvalid(id, bid.provider);
        }

        _debit(order.tenant, order.deposit);
        uint40 startedAt = uint40(block.timestamp);
        // As `abi.encode` of the Lease: its fields are static, so they follow each other.
        bytes memory lease =
            abi.encode(order.tenant, bid.provider, bid.rate, order.deposit, startedAt, order.openBy, bid.notice, uint40(0));
        slotOf[id] = _slot(lease, startedAt);
        emit LeaseOpened(id, order.tenant, bid.provider, bid.node, bid.rate, order.deposit, startedAt, order.openBy, bid.notice);
    }

    function _close(Closing calldata closing) private {
        bytes32 id = closing.id;
        Lease memory lease = closing.lease;
        uint40 settledAt = _find(id, lease);
        uint128 earned = _earned(lease);
        _checkMayClose(id, lease, earned, closing.tenantSignature);

        // What its order can open no more need not be remembered; clearing the slot gives gas back.
        slotOf[id] = block.timestamp > lease.openBy ? bytes32(0) : OVER;
        (uint128 toProvider, uint128 toTenant) = LeaseSplit.split(lease.deposit, _accrued(lease, settledAt), earned);
        if (toProvider != 0) balanceOf[lease.provider] += toProvider;
        if (toTenant != 0) balanceOf[lease.tenant] += toTenant;
        emit LeaseClosed(id, toProvider, toTenant);
    }

    function _checkMayClose(bytes32 id, Lease memory lease, uint128 earned, bytes calldata tenantSignature) private view {
        if (msg.sender == lease.tenant) return;
        if (earned == lease.deposit) return;
        if (lease.endsAt != 0 && block.timestamp >= lease.endsAt) return;
        if (tenantSignature.length == 0) revert MayNotClose(id, msg.sender, lease.endsAt);
        if (!Signatures.isValid(lease.tenant, closeDigest(id), tenantSignature)) {
            revert CloseSignatureInvalid(id, lease.tenant);
        }
    }

    /// @dev The second up to which this very lease is settled; refuses what the book does not keep.
    function _find(bytes32 id, Lease memory lease) private view returns (uint40 settledAt) {
        bytes32 kept = slotOf[id];
        settledAt = uint40(uint256(kept));
        bytes32 given = _slot(abi.encode(lease), settledAt);
        if (given != kept) revert LeaseUnknown(id, given, kept);
    }

    function _slot(bytes memory lease, uint40 settledAt) private pure returns (bytes32) {
        return bytes32(((uint256(keccak256(lease)) >> TIME_BITS) << TIME_BITS) | settledAt);
    }

    function _accrued(Lease memory lease, uint40 timestamp) private view returns (uint128) {
        if (lease.endsAt != 0 && lease.endsAt < timestamp) timestamp = lease.endsAt;
        return LeaseSplit.accrued(lease.deposit, lease.rate, timestamp - lease.startedAt, scale);
    }

    function _earned(Lease memory lease) private view returns (uint128) {
        return _accrued(lease, uint40(block.timestamp));
    }

    function _debit(address account, uint256 amount) private {
        uint256 balance = balanceOf[account];
        if (balance < amount) revert BalanceTooLow(account, balance, amount);
        balanceOf[account] = balance - amount;
    }
}
