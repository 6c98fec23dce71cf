// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IEscrow} from "./IEscrow.sol";

/// @title Payouts: what gateways owe their providers
/// @notice A gateway keeps funds and a bond here. Each epoch it posts a payout root: a Merkle tree of what it has owed each
/// provider since the beginning, covered by its funds. A root counts once its challenge window is over; then each
/// provider claims what its leaf says above what it was paid before. Besides, a gateway signs each provider an IOU as it
/// goes, cumulative, too. A provider that a root leaves out, or whose gateway has vanished, claims by its IOU at once; and
/// while the root is pending it can challenge it, which costs a gateway that cannot answer its root and part of its bond.
///
/// Leaf: `keccak256(bytes.concat(keccak256(abi.encode(address provider, uint128 cumulative))))`, pairs hashed in sorted order:
/// the tree that OpenZeppelin's merkle-tree package makes of `["address", "uint128"]`.
///
/// EIP-712, domain `{ name: "Baseload Payouts", version: "1", chainId, verifyingContract }`:
/// `Iou(address gateway,address provider,uint32 epoch,uint128 cumulative)`, signed by the gateway. Roots of `epoch` and
/// later owe the provider `cumulative` at least.
///
/// A gateway's funds stand behind all of its IOUs together, first come, first served: a gateway that signs IOUs to its own
/// friends can empty them. A provider that will not share asks for a channel of its own (IChannels).
interface IPayouts is IEscrow {
    /// @dev Fixed at deployment. Times in seconds, amounts in units of the token.
    struct Terms {
        /// @dev How long a root can be challenged before it counts: an hour to a day.
        uint40 challengeWindow;
        /// @dev How long a gateway has to answer a challenge.
        uint40 answerWindow;
        /// @dev From a gateway's asking for its money to its getting it: longer than both windows together.
        uint40 withdrawDelay;
        /// @dev What a gateway must have at stake to post a root.
        uint128 minBond;
        /// @dev What a challenge that is not answered takes of the bond; at most `minBond`.
        uint128 penalty;
        /// @dev What a challenger puts down, and loses to the gateway when the challenge is answered.
        uint128 challengeDeposit;
    }

    struct Gateway {
        /// @dev All that came in for claims, less what was withdrawn. Funds are `deposited - paid`.
        uint128 deposited;
        /// @dev All that claims have drawn.
        uint128 paid;
        bytes32 root;
        bytes32 pendingRoot;
        /// @dev Sums that the roots declare, since the beginning.
        uint128 total;
        uint128 pendingTotal;
        uint128 bond;
        uint40 pendingSince;
        /// @dev Of the last root posted.
        uint32 epoch;
        uint32 openChallenges;
    }

    /// @dev One for each provider, root and IOU. It stays on record after its answer, with no challenger.
    struct Challenge {
        address challenger;
        uint40 answerBy;
    }

    struct Withdrawal {
        uint128 amount;
        uint40 availableAt;
    }

    event Funded(address indexed gateway, address indexed sender, uint128 amount);
    event Bonded(address indexed gateway, address indexed sender, uint128 amount);
    event RootPosted(address indexed gateway, uint32 indexed epoch, bytes32 root, uint128 total, uint40 countsFrom);
    event RootVoided(address indexed gateway, uint32 indexed epoch, bytes32 root, address challenger, uint128 penalty);
    event Claimed(address indexed gateway, address indexed provider, uint128 amount, uint128 paid);
    event ChallengeOpened(address indexed gateway, address indexed provider, uint32 epoch, uint128 cumulative, uint40 answerBy);
    event ChallengeAnswered(address indexed gateway, address indexed provider, uint32 epoch, uint128 cumulative);
    event ChallengeReturned(
        address indexed gateway, address indexed provider, uint32 epoch, uint128 cumulative, address challenger
    );
    event WithdrawRequested(address indexed gateway, uint128 amount, uint40 availableAt);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    error TermsInvalid(Terms terms);
    error BondTooLow(address gateway, uint128 bond, uint128 needed);
    error EpochNotHigher(address gateway, uint32 epoch, uint32 last);
    error TotalBelowLast(address gateway, uint128 total, uint128 last);
    error RootNotCovered(address gateway, uint128 total, uint256 covered);
    error RootEmpty();
    error RootPending(address gateway, uint32 epoch, uint40 countsFrom);
    error NoRootPending(address gateway);
    error ProofInvalid(address gateway, address provider, uint128 cumulative);
    error IouSignatureInvalid(address gateway, address provider, uint32 epoch, uint128 cumulative);
    error NothingDue(address gateway, address provider, uint128 cumulative, uint128 paid);
    error GatewayEmpty(address gateway, uint128 due);
    /// @notice The IOU belongs to an epoch after the root's.
    error IouTooNew(uint32 iouEpoch, uint32 rootEpoch);
    error ChallengeWindowOver(address gateway, uint40 countsFrom, uint256 timestamp);
    error ChallengeExists(address gateway, address provider, uint32 epoch, uint128 cumulative);
    error ChallengeUnknown(address gateway, address provider, uint32 epoch, uint128 cumulative);
    /// @notice The root that was challenged still pends: answer it, or wait until it is due.
    error ChallengeOpen(address gateway, address provider, uint32 epoch, uint128 cumulative);
    error AnswerTooLow(uint128 cumulative, uint128 needed);
    error AnswerTooLate(uint40 answerBy, uint256 timestamp);
    error AnswerNotDue(uint40 answerBy, uint256 timestamp);
    error WithdrawTooEarly(address gateway, uint40 availableAt, uint256 timestamp);
    /// @notice Asked for too long ago: a gateway may not keep a withdrawal ready for the day it wants to vanish.
    error WithdrawExpired(address gateway, uint40 expiredAt, uint256 timestamp);
    error NoWithdrawal(address gateway);
    error CreditTooLow(address account, uint256 credit, uint256 needed);

    /// @notice Adds the caller's tokens to what a gateway's claims draw on.
    function fund(address gateway, uint128 amount) external;

    /// @notice Adds the caller's tokens to a gateway's bond.
    function bond(address gateway, uint128 amount) external;

    /// @notice Posts the caller's next payout root. `total` is the sum of its leaves; what of it is not paid must be covered.
    function postRoot(bytes32 root, uint128 total, uint32 epoch) external;

    /// @notice Pays a provider what its leaf says above what it was paid. For anybody to call; the money goes to the provider.
    function claim(address gateway, address provider, uint128 cumulative, bytes32[] calldata proof) external;

    /// @notice The same by the gateway's IOU, whatever its roots say.
    function claimByIou(address gateway, address provider, uint32 epoch, uint128 cumulative, bytes calldata signature) external;

    /// @notice Says that a pending root owes less than this IOU. Takes the challenge's deposit from the caller.
    function challenge(address gateway, address provider, uint32 epoch, uint128 cumulative, bytes calldata signature) external;

    /// @notice Shows that the pending root's leaf for a provider, `cumulative`, is no less than the IOU of a challenge, `owed`. For
    /// anybody.
    function answer(address gateway, address provider, uint128 owed, uint128 cumulative, bytes32[] calldata proof) external;

    /// @notice Voids a root whose challenge was not answered in time. For anybody; the penalty is the challenger's.
    function voidRoot(address gateway, address provider, uint128 owed) external;

    /// @notice Gives a challenger its deposit back when another challenge has voided the root.
    function returnChallenge(address gateway, address provider, uint32 epoch, uint128 owed) external;

    /// @notice The caller, a gateway, asks for its money. A second request replaces the first.
    function requestWithdrawal(uint128 amount) external;

    /// @notice Pays out what was asked for, or what of it is not owed by a root, funds first, then bond. Within three days
    /// from when it is available.
    function finishWithdrawal(address to) external;

    /// @notice Pays out what challenges have earned the caller.
    function withdrawCredit(address to, uint256 amount) external;

    function terms() external view returns (Terms memory);
    function gatewayOf(address gateway) external view returns (Gateway memory);
    function challengeOf(address gateway, address provider, uint32 epoch, uint128 owed) external view returns (Challenge memory);
    function withdrawalOf(address gateway) external view returns (Withdrawal memory);

    /// @notice The root that claims are measured by now.
    function rootOf(address gateway) external view returns (bytes32);

    /// @notice Units of the token a gateway has paid a provider since the beginning, by root and by IOU.
    function paidTo(address gateway, address provider) external view returns (uint128);
    function creditOf(address account) external view returns (uint256);

    /// @notice What of a gateway's money no root lays claim to. IOUs may still draw on it.
    function withdrawable(address gateway) external view returns (uint128);
    function iouDigest(address gateway, address provider, uint32 epoch, uint128 cumulative) external view returns (bytes32);
}
