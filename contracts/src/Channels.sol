// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Escrow} from "./base/Escrow.sol";
import {Signatures} from "./base/Signatures.sol";
import {IChannels} from "./interfaces/IChannels.sol";
import {IDepositCollector} from "./interfaces/IDepositCollector.sol";

/// @dev What it promises stands in IChannels. One slot a channel; a claim writes that slot and nothing else of its own.
contract Channels is IChannels, Escrow, EIP712, Multicall {
    bytes32 public constant CHANNEL_CONFIG_TYPEHASH = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 public constant REFUND_TYPEHASH = keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    bytes32 public constant CLAIM_ENTRY_TYPEHASH =
        keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");
    bytes32 public constant CLAIM_BATCH_TYPEHASH =
        keccak256("ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");

    uint40 public constant MIN_WITHDRAW_DELAY = 15 minutes;
    uint40 public constant MAX_WITHDRAW_DELAY = 30 days;

    struct Channel {
        uint128 balance;
        uint128 totalClaimed;
    }

    struct PendingWithdrawal {
        uint128 amount;
        uint40 initiatedAt;
    }

    struct Receiver {
        uint128 totalClaimed;
        uint128 totalSettled;
    }

    mapping(bytes32 channelId => Channel) public channels;
    mapping(bytes32 channelId => PendingWithdrawal) public pendingWithdrawals;
    mapping(bytes32 channelId => uint256) public refundNonce;
    mapping(address receiver => mapping(address token => Receiver)) public receivers;

    constructor(IERC20 token_, address guardian) Escrow(token_, guardian) EIP712("x402 Batch Settlement", "1") {}

    /// @inheritdoc IChannels
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData)
        external
        nonReentrant
        whenNotPaused
    {
        if (amount == 0) revert ZeroAmount();
        _checkConfig(config);
        bytes32 channelId = getChannelId(config);
        Channel storage channel = channels[channelId];
        uint128 balance = channel.balance;
        if (balance == 0 && channel.totalClaimed == 0) emit ChannelCreated(channelId, config);
        balance += amount;
        channel.balance = balance;
        emit Deposited(channelId, msg.sender, amount, balance);

        if (collector == address(0)) {
            _pullFromSender(amount);
        } else {
            uint256 before = _expect(amount);
            IDepositCollector(collector).collect(config.payer, config.token, amount, channelId, collectorData);
            _requireArrived(before, amount);
        }
    }

    /// @inheritdoc IChannels
    function claim(VoucherClaim[] calldata voucherClaims) external nonReentrant {
        bytes32[] memory channelIds = _channelIds(voucherClaims);
        for (uint256 i = 0; i < voucherClaims.length; i++) {
            ChannelConfig calldata config = voucherClaims[i].voucher.channel;
            if (msg.sender != config.receiver && msg.sender != config.receiverAuthorizer) {
                revert NotReceiver(channelIds[i], msg.sender);
            }
        }
        _claim(voucherClaims, channelIds);
    }

    /// @inheritdoc IChannels
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature) external nonReentrant {
        bytes32[] memory channelIds = _channelIds(voucherClaims);
        address authorizer = voucherClaims[0].voucher.channel.receiverAuthorizer;
        for (uint256 i = 1; i < voucherClaims.length; i++) {
            address other = voucherClaims[i].voucher.channel.receiverAuthorizer;
            if (other != authorizer) revert AuthorizersDiffer(authorizer, other);
        }
        _checkAuthorizer(authorizer, _claimBatchDigest(voucherClaims, channelIds), authorizerSignature);
        _claim(voucherClaims, channelIds);
    }

    /// @inheritdoc IChannels
    function settle(address receiver, address token_) external nonReentrant {
        Receiver storage account = receivers[receiver][token_];
        uint128 claimed = account.totalClaimed;
        uint128 amount = claimed - account.totalSettled;
        if (amount == 0) return;
        account.totalSettled = claimed;
        emit Settled(receiver, token_, msg.sender, amount);
        _pay(receiver, amount);
    }

    /// @inheritdoc IChannels
    function refund(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        bytes32 channelId = getChannelId(config);
        if (msg.sender != config.receiver && msg.sender != config.receiverAuthorizer) {
            revert NotReceiver(channelId, msg.sender);
        }
        _refund(config, channelId, amount);
    }

    /// @inheritdoc IChannels
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external nonReentrant {
        bytes32 channelId = getChannelId(config);
        uint256 expected = refundNonce[channelId];
        if (nonce != expected) revert RefundNonceWrong(channelId, nonce, expected);
        bytes32 digest = getRefundDigest(channelId, nonce, amount);
        _checkAuthorizer(config.receiverAuthorizer, digest, receiverAuthorizerSignature);
        _refund(config, channelId, amount);
    }

    /// @inheritdoc IChannels
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        bytes32 channelId = getChannelId(config);
        _checkPayer(config, channelId);
        if (amount == 0) revert ZeroAmount();
        uint128 available = _available(channelId);
        if (amount > available) revert WithdrawAboveAvailable(channelId, amount, available);

        PendingWithdrawal storage pending = pendingWithdrawals[channelId];
        if (pending.initiatedAt != 0 && msg.sender != config.payer) {
            revert WithdrawPending(channelId, pending.initiatedAt + config.withdrawDelay);
        }
        pending.amount = amount;
        pending.initiatedAt = uint40(block.timestamp);
        emit WithdrawInitiated(channelId, amount, uint40(block.timestamp) + config.withdrawDelay);
    }

    /// @inheritdoc IChannels
    function finalizeWithdraw(ChannelConfig calldata config) external nonReentrant {
        bytes32 channelId = getChannelId(config);
        _checkPayer(config, channelId);
        PendingWithdrawal memory pending = pendingWithdrawals[channelId];
        if (pending.initiatedAt == 0) revert NoWithdrawPending(channelId);
        uint40 finalizeAfter = pending.initiatedAt + config.withdrawDelay;
        if (block.timestamp < finalizeAfter) {
            revert WithdrawTooEarly(channelId, finalizeAfter, block.timestamp);
        }
        delete pendingWithdrawals[channelId];
        uint128 available = _available(channelId);
        uint128 amount = pending.amount < available ? pending.amount : available;
        emit WithdrawFinalized(channelId, amount);
        _returnToPayer(config, channelId, amount);
    }

    /// @inheritdoc IChannels
    function getChannelId(ChannelConfig memory config) public view returns (bytes32) {
        // A struct of static fields is encoded as they follow each other: typehash first, then the struct.
        return _hashTypedDataV4(keccak256(abi.encode(CHANNEL_CONFIG_TYPEHASH, config)));
    }

    /// @inheritdoc IChannels
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, maxClaimableAmount)));
    }

    /// @inheritdoc IChannels
    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REFUND_TYPEHASH, channelId, nonce, amount)));
    }

    /// @inheritdoc IChannels
    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) external view returns (bytes32) {
        return _claimBatchDigest(voucherClaims, _channelIds(voucherClaims));
    }

    function _checkConfig(ChannelConfig calldata config) private view {
        if (config.payer == address(0) || config.receiver == address(0) || config.receiverAuthorizer == address(0)) {
            revert ZeroAddress();
        }
        if (config.token != address(token)) revert TokenNotTaken(config.token, address(token));
        if (config.withdrawDelay < MIN_WITHDRAW_DELAY || config.withdrawDelay > MAX_WITHDRAW_DELAY) {
            revert WithdrawDelayOutOfRange(config.withdrawDelay, MIN_WITHDRAW_DELAY, MAX_WITHDRAW_DELAY);
        }
    }

    function _checkPayer(ChannelConfig calldata config, bytes32 channelId) private view {
        // A zero authorizer is nobody: no caller has that address.
        if (msg.sender != config.payer && msg.sender != config.payerAuthorizer) {
            revert NotPayer(channelId, msg.sender);
        }
    }

    function _checkAuthorizer(address authorizer, bytes32 digest, bytes calldata signature) private view {
        if (!Signatures.isValid(authorizer, digest, signature)) {
            revert AuthorizerSignatureInvalid(authorizer, digest);
        }
    }

    function _checkVoucher(VoucherClaim calldata row, bytes32 channelId) private view {
        uint128 ceiling = row.voucher.maxClaimableAmount;
        address authorizer = row.voucher.channel.payerAuthorizer;
        bytes32 digest = getVoucherDigest(channelId, ceiling);
        bool valid = authorizer == address(0)
            ? Signatures.isValid(row.voucher.channel.payer, digest, row.signature)
            : Signatures.isByKey(authorizer, digest, row.signature);
        if (!valid) revert VoucherSignatureInvalid(channelId, ceiling);
    }

    function _channelIds(VoucherClaim[] calldata voucherClaims) private view returns (bytes32[] memory channelIds) {
        uint256 count = voucherClaims.length;
        if (count == 0) revert NoClaims();
        channelIds = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            channelIds[i] = getChannelId(voucherClaims[i].voucher.channel);
        }
    }

    function _claimBatchDigest(VoucherClaim[] calldata voucherClaims, bytes32[] memory channelIds)
        private
        view
        returns (bytes32)
    {
        bytes32[] memory entries = new bytes32[](channelIds.length);
        for (uint256 i = 0; i < channelIds.length; i++) {
            VoucherClaim calldata row = voucherClaims[i];
            entries[i] =
                keccak256(abi.encode(CLAIM_ENTRY_TYPEHASH, channelIds[i], row.voucher.maxClaimableAmount, row.totalClaimed));
        }
        return _hashTypedDataV4(keccak256(abi.encode(CLAIM_BATCH_TYPEHASH, keccak256(abi.encodePacked(entries)))));
    }

    /// @dev Rows of one receiver mostly follow each other: its account is written once for all of them.
    function _claim(VoucherClaim[] calldata voucherClaims, bytes32[] memory channelIds) private {
        address receiver = voucherClaims[0].voucher.channel.receiver;
        uint128 gained = 0;
        for (uint256 i = 0; i < channelIds.length; i++) {
            address next = voucherClaims[i].voucher.channel.receiver;
            if (next != receiver) {
                receivers[receiver][address(token)].totalClaimed += gained;
                (receiver, gained) = (next, 0);
            }
            gained += _claimRow(voucherClaims[i], channelIds[i]);
        }
        receivers[receiver][address(token)].totalClaimed += gained;
    }

    /// @dev A row that raises nothing is skipped: of two batches that overlap, both go through. A channel of another token
    /// never had a balance, so nothing can be claimed of it.
    function _claimRow(VoucherClaim calldata row, bytes32 channelId) private returns (uint128 amount) {
        uint128 total = row.totalClaimed;
        Channel storage channel = channels[channelId];
        (uint128 balance, uint128 claimed) = (channel.balance, channel.totalClaimed);
        if (total <= claimed) return 0;
        if (total > row.voucher.maxClaimableAmount) {
            revert ClaimAboveVoucher(channelId, total, row.voucher.maxClaimableAmount);
        }
        if (total > balance) revert ClaimAboveBalance(channelId, total, balance);
        _checkVoucher(row, channelId);
        channel.totalClaimed = total;
        amount = total - claimed;
        emit Claimed(channelId, amount, total);
    }

    function _available(bytes32 channelId) private view returns (uint128) {
        Channel storage channel = channels[channelId];
        return channel.balance - channel.totalClaimed;
    }

    function _refund(ChannelConfig calldata config, bytes32 channelId, uint128 amount) private {
        if (amount == 0) revert ZeroAmount();
        refundNonce[channelId] += 1;
        uint128 available = _available(channelId);
        if (amount > available) amount = available;
        if (amount == 0) return;

        PendingWithdrawal storage pending = pendingWithdrawals[channelId];
        if (pending.initiatedAt != 0) {
            if (amount >= pending.amount) delete pendingWithdrawals[channelId];
            else pending.amount -= amount;
        }
        emit Refunded(channelId, msg.sender, amount);
        _returnToPayer(config, channelId, amount);
    }

    function _returnToPayer(ChannelConfig calldata config, bytes32 channelId, uint128 amount) private {
        if (amount == 0) return;
        Channel storage channel = channels[channelId];
        uint128 balance = channel.balance - amount;
        channel.balance = balance;
        if (balance == 0 && channel.totalClaimed == 0) emit ChannelClosed(channelId, config);
        _pay(config.payer, amount);
    }
}
