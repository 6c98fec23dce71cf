// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IEscrow} from "./IEscrow.sol";

/// @title Channels: deposits that are spent by cumulative vouchers
/// @notice A payer deposits for one receiver and signs vouchers, each a ceiling for all that was ever spent. The receiver
/// claims up to the last ceiling; the payer takes back the rest, with the receiver's consent at once, without it after
/// `withdrawDelay`. Baseload uses it tenant → gateway, and gateway → provider where a provider wants a deposit of its own
/// behind the gateway's IOUs.
///
/// The ABI and the typed data are those of x402's `batch-settlement` scheme on EVM, version 1.0, so that its clients work
/// unchanged. Written from its published specification (github.com/x402-foundation/x402,
/// specs/schemes/batch-settlement/scheme_batch_settlement_evm.md). EIP-712, domain
/// `{ name: "x402 Batch Settlement", version: "1", chainId, verifyingContract }`:
///
/// - `ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)`;
///   its typed-data hash is the channel's id
/// - `Voucher(bytes32 channelId,uint128 maxClaimableAmount)`, signed by `payerAuthorizer` (ECDSA), or by `payer` (ECDSA or
///   EIP-1271) where that is zero
/// - `ClaimBatch(ClaimEntry[] claims)` of `ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)`,
///   signed by `receiverAuthorizer` (ECDSA or EIP-1271)
/// - `Refund(bytes32 channelId,uint256 nonce,uint128 amount)`, signed by `receiverAuthorizer`
///
/// Amounts are in units of the token. Where the specification leaves a choice open: a claim that raises nothing is skipped,
/// not refused; `collector` zero takes the caller's own tokens by approval; and only the payer itself may replace a
/// withdrawal that waits, so that a spending key which got lost cannot hold up its owner's exit.
interface IChannels is IEscrow {
    struct ChannelConfig {
        address payer;
        /// @dev The key that signs vouchers; zero: the payer itself.
        address payerAuthorizer;
        address receiver;
        /// @dev Says how much is claimed and refunded; never zero.
        address receiverAuthorizer;
        address token;
        /// @dev Seconds from asking to leave to leaving: 15 minutes to 30 days.
        uint40 withdrawDelay;
        /// @dev Tells channels with equal parties apart.
        bytes32 salt;
    }

    struct Voucher {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }

    struct VoucherClaim {
        Voucher voucher;
        /// @dev Of the voucher.
        bytes signature;
        /// @dev What will have been claimed after this, at most the voucher's ceiling.
        uint128 totalClaimed;
    }

    event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
    event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
    event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 balance);
    event Claimed(bytes32 indexed channelId, uint128 amount, uint128 totalClaimed);
    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
    event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
    event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter);
    event WithdrawFinalized(bytes32 indexed channelId, uint128 amount);

    error TokenNotTaken(address token, address taken);
    error WithdrawDelayOutOfRange(uint40 withdrawDelay, uint40 min, uint40 max);
    error NoClaims();
    /// @notice A claim came from neither the channel's receiver nor its authorizer.
    error NotReceiver(bytes32 channelId, address caller);
    /// @notice A withdrawal came from neither the channel's payer nor its authorizer.
    error NotPayer(bytes32 channelId, address caller);
    error VoucherSignatureInvalid(bytes32 channelId, uint128 maxClaimableAmount);
    error AuthorizerSignatureInvalid(address authorizer, bytes32 digest);
    /// @notice One signature covers rows of one `receiverAuthorizer` only.
    error AuthorizersDiffer(address first, address other);
    error ClaimAboveVoucher(bytes32 channelId, uint128 totalClaimed, uint128 maxClaimableAmount);
    error ClaimAboveBalance(bytes32 channelId, uint128 totalClaimed, uint128 balance);
    error RefundNonceWrong(bytes32 channelId, uint256 nonce, uint256 expected);
    error WithdrawAboveAvailable(bytes32 channelId, uint128 amount, uint128 available);
    error WithdrawPending(bytes32 channelId, uint40 finalizeAfter);
    error NoWithdrawPending(bytes32 channelId);
    error WithdrawTooEarly(bytes32 channelId, uint40 finalizeAfter, uint256 timestamp);

    /// @notice Puts `amount` into a channel, which its first deposit creates.
    /// @param collector Brings the tokens from the payer with the payer's signature. Zero: they are the caller's own, by an
    /// approval for this contract.
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData) external;

    /// @notice Books what vouchers allow, for the receiver or its authorizer. Moves no tokens.
    function claim(VoucherClaim[] calldata voucherClaims) external;

    /// @notice The same for anybody who brings the authorizer's signature over all rows.
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature) external;

    /// @notice Pays a receiver all that was claimed for it and not paid yet. For anybody to call.
    function settle(address receiver, address token) external;

    /// @notice Returns up to `amount` of what is not claimed to the payer, at once. For the receiver or its authorizer.
    /// @dev Uses up the refund nonce, even when nothing is left to return.
    function refund(ChannelConfig calldata config, uint128 amount) external;

    /// @notice The same for anybody who brings the receiver authorizer's signature over `nonce` and `amount`.
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external;

    /// @notice Starts the exit that needs nobody's consent. For the payer or its authorizer.
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external;

    /// @notice Ends it after `withdrawDelay`: pays the payer what was asked for, or what is left unclaimed.
    function finalizeWithdraw(ChannelConfig calldata config) external;

    function getChannelId(ChannelConfig calldata config) external view returns (bytes32);
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) external view returns (bytes32);
    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) external view returns (bytes32);
    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) external view returns (bytes32);

    /// @notice `balance`: all deposited less what was returned; `totalClaimed` of it is the receiver's.
    function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);
    function pendingWithdrawals(bytes32 channelId) external view returns (uint128 amount, uint40 initiatedAt);
    function receivers(address receiver, address token) external view returns (uint128 totalClaimed, uint128 totalSettled);
    function refundNonce(bytes32 channelId) external view returns (uint256);
}
