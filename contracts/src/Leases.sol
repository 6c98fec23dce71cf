// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Escrow} from "./base/Escrow.sol";
import {LeaseSplit} from "./base/LeaseSplit.sol";
import {ILeases} from "./interfaces/ILeases.sol";

/// @dev What it promises stands in ILeases.
contract Leases is ILeases, Escrow, EIP712 {
    bytes32 public constant ORDER_TYPEHASH = keccak256(
        "Order(address tenant,address gateway,bytes32 terms,uint96 maxRate,uint128 deposit,uint32 minNotice,uint40 openBy,bytes32 salt)"
    );
    bytes32 public constant BID_TYPEHASH = keccak256(
        "Bid(bytes32 order,address provider,bytes32 node,uint96 rate,uint32 notice,uint40 openBy)"
    );
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
        for (uint256 i = 0; i < openings.length; i++) _open(openings[i]);
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
        slotOf[id] = _slot(changed, settledAt);
        emit LeaseChanged(id, changed);
    }

    /// @inheritdoc ILeases
    function settle(bytes32 id, Lease calldata lease) external nonReentrant {
        uint40 settledAt = _find(id, lease);
        (uint128 toProvider,) = LeaseSplit.split(lease.deposit, accrued(lease, settledAt), _earned(lease));
        if (toProvider == 0) return;
        slotOf[id] = _slot(lease, uint40(block.timestamp));
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
        slotOf[id] = _slot(changed, settledAt);
        emit LeaseChanged(id, changed);
    }

    /// @inheritdoc ILeases
    function close(Closing calldata closing) external nonReentrant {
        _close(closing);
    }

    /// @inheritdoc ILeases
    function closeMany(Closing[] calldata closings) external nonReentrant {
        for (uint256 i = 0; i < closings.length; i++) _close(closings[i]);
    }

    /// @inheritdoc ILeases
    function accrued(Lease calldata lease, uint40 timestamp) public view returns (uint128) {
        if (lease.endsAt != 0 && lease.endsAt < timestamp) timestamp = lease.endsAt;
        return LeaseSplit.accrued(lease.deposit, lease.rate, timestamp - lease.startedAt, scale);
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
    function bidDigest(bytes32 id, Bid calldata bid) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(BID_TYPEHASH, id, bid)));
    }

    /// @inheritdoc ILeases
    function closeDigest(bytes32 id) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CLOSE_TYPEHASH, id)));
    }

    function _open(Opening calldata opening) private returns (bytes32 id) {
        Order calldata order = opening.order;
        Bid calldata bid = opening.bid;
        id = orderId(order);
        if (block.timestamp > order.openBy) revert OrderExpired(id, order.openBy, block.timestamp);
        if (block.timestamp > bid.openBy) revert BidExpired(id, bid.openBy, block.timestamp);
        if (order.gateway != address(0) && msg.sender != order.gateway) {
            revert NotGateway(id, msg.sender, order.gateway);
        }
        if (bid.rate > order.maxRate) revert RateAboveOrder(id, bid.rate, order.maxRate);
        if (bid.notice < order.minNotice) revert NoticeBelowOrder(id, bid.notice, order.minNotice);
        if (slotOf[id] != 0) revert LeaseExists(id);
        if (!_signed(order.tenant, _hashTypedDataV4(id), opening.tenantSignature)) {
            revert OrderSignatureInvalid(id, order.tenant);
        }
        if (!_signed(bid.provider, bidDigest(id, bid), opening.providerSignature)) {
            revert BidSignatureInvalid(id, bid.provider);
        }

        _debit(order.tenant, order.deposit);
        uint40 startedAt = uint40(block.timestamp);
        Lease memory lease = Lease({
            tenant: order.tenant,
            provider: bid.provider,
            rate: bid.rate,
            deposit: order.deposit,
            startedAt: startedAt,
            openBy: order.openBy,
            notice: bid.notice,
            endsAt: 0
        });
        slotOf[id] = _slot(lease, startedAt);
        emit LeaseOpened(
            id,
            order.tenant,
            bid.provider,
            bid.node,
            bid.rate,
            order.deposit,
            startedAt,
            order.openBy,
            bid.notice
        );
    }

    function _close(Closing calldata closing) private {
        (bytes32 id, Lease calldata lease) = (closing.id, closing.lease);
        uint40 settledAt = _find(id, lease);
        uint128 earned = _earned(lease);
        _checkMayClose(closing, earned);

        // What its order can open no more need not be remembered; clearing the slot gives gas back.
        slotOf[id] = block.timestamp > lease.openBy ? bytes32(0) : OVER;
        (uint128 toProvider, uint128 toTenant) =
            LeaseSplit.split(lease.deposit, accrued(lease, settledAt), earned);
        if (toProvider != 0) balanceOf[lease.provider] += toProvider;
        if (toTenant != 0) balanceOf[lease.tenant] += toTenant;
        emit LeaseClosed(id, toProvider, toTenant);
    }

    function _checkMayClose(Closing calldata closing, uint128 earned) private view {
        (bytes32 id, Lease calldata lease) = (closing.id, closing.lease);
        if (msg.sender == lease.tenant) return;
        if (earned == lease.deposit) return;
        if (lease.endsAt != 0 && block.timestamp >= lease.endsAt) return;
        if (closing.tenantSignature.length == 0) revert MayNotClose(id, msg.sender, lease.endsAt);
        if (!_signed(lease.tenant, closeDigest(id), closing.tenantSignature)) {
            revert CloseSignatureInvalid(id, lease.tenant);
        }
    }

    /// @dev The second up to which this very lease is settled; refuses what the book does not keep.
    function _find(bytes32 id, Lease calldata lease) private view returns (uint40 settledAt) {
        bytes32 kept = slotOf[id];
        settledAt = uint40(uint256(kept));
        bytes32 given = _slot(lease, settledAt);
        if (given != kept) revert LeaseUnknown(id, given, kept);
    }

    function _slot(Lease memory lease, uint40 settledAt) private pure returns (bytes32) {
        uint256 hash = uint256(keccak256(abi.encode(lease)));
        return bytes32(((hash >> TIME_BITS) << TIME_BITS) | settledAt);
    }

    function _earned(Lease calldata lease) private view returns (uint128) {
        return accrued(lease, uint40(block.timestamp));
    }

    function _debit(address account, uint256 amount) private {
        uint256 balance = balanceOf[account];
        if (balance < amount) revert BalanceTooLow(account, balance, amount);
        balanceOf[account] = balance - amount;
    }

    function _signed(address signer, bytes32 digest, bytes calldata signature) private view returns (bool) {
        return SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature);
    }
}
