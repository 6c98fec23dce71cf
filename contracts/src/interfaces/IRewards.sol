// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Rewards: a token that providers earn with paid work
/// @notice Optional: nothing else of Baseload needs it. Nobody can mint at will. There is no owner; all terms are fixed at
/// deployment, with a first supply for a holder told there, if any. What is minted later comes of two modes:
///
/// - Emission: each epoch may emit `firstEmission`, halved every `halvingEpochs`.
/// - Burn and mint: work is priced in dollars. Payers burn the worth of it in tokens, at a time-weighted price. An epoch may mint
///   the worth of what was burned in it, less a fee that is never minted again, and no more than its emission.
///
/// After an epoch the settler posts a root: a Merkle tree of what each provider has earned since the beginning, in Payouts'
/// form, split by paid work times quality. It counts after a challenge window, in which a watcher can veto it, and anybody
/// disproves it by two of its leaves for one provider, or by one that is lower than before. A root that is gone is posted
/// again. An epoch's root adds no more than the epoch may mint, and what rounding left of the last one; what an epoch does not
/// post lapses. All claims together never mint more than the root's declared total, whatever its leaves say.
///
/// Why work is what pays:
/// 1. Weight is paid work times quality. Being there, capacity, stake and identities weigh nothing.
/// 2. Shares are proportional and rounded down: one provider as two never gets more than as one.
/// 3. Who buys its own work of `v` dollars gets its money back, less the network's fee of `f`: that costs `f v`.
/// 4. It earns at most `E v / (W + v)`, with `E` the emission's worth and `W` everybody else's weight: less than `E v / W`.
/// 5. So it loses when `f >= E / W`. The settler emits no more than `f` times all weight is worth; the rest lapses.
/// 6. With burning, the purchase itself is burned: `v` goes. What comes back is `(1 - f) q v`, with quality `q` of at most 1.
/// 7. That needs a mint of no more than the work's worth times its quality: the discount of bad work goes to nobody.
/// 8. Prices are time-weighted, so a moment's price buys nothing. When the spot price is far off, or old, burning and
///    new roots pause. Claims never do.
/// 9. A settler that lies can misdirect an epoch's emission if no watcher looks, and never mint more than that.
/// 10. Watchers can only delay what is to come; what counts stays earned.
interface IRewards is IERC20 {
    enum Mode {
        Emission,
        BurnAndMint
    }

    /// @dev Times in seconds, amounts in the token's smallest unit (18 decimals), shares in hundredths of a percent.
    struct Terms {
        Mode mode;
        address settler;
        /// @dev When epoch 0 begins.
        uint40 start;
        /// @dev An hour to 30 days.
        uint40 epochLength;
        uint32 halvingEpochs;
        uint128 firstEmission;
        /// @dev An hour to an epoch.
        uint40 challengeWindow;
        /// @dev What there is from the beginning, and whose it is. Burning needs some.
        uint128 genesis;
        address genesisHolder;
        // Only for burn and mint; 0 otherwise.
        address oracle;
        /// @dev Ten minutes to 7 days. Observations are a 32nd of it apart at least.
        uint40 twapWindow;
        /// @dev Of the last observation, and of what the oracle says. A 32nd of `twapWindow` to all of it.
        uint40 maxAge;
        /// @dev Of the spot price from the time-weighted one.
        uint16 maxDeviationBps;
        /// @dev What of a burn is never minted again.
        uint16 burnFeeBps;
    }

    /// @dev Why burning and new roots pause.
    enum Breaker {
        None,
        /// @dev Observations do not reach back over the window yet.
        NoHistory,
        ObservationOld,
        OracleOld,
        PriceDeviates
    }

    struct Root {
        bytes32 root;
        /// @dev Sum of its leaves, since the beginning.
        uint128 total;
        /// @dev What its epoch may mint, and what rounding left of the last.
        uint128 limit;
        uint32 epoch;
        uint40 countsFrom;
    }

    event RootPosted(uint32 indexed epoch, bytes32 root, uint128 total, uint128 limit, uint40 countsFrom);
    event RootVetoed(uint32 indexed epoch, bytes32 root, address indexed watcher);
    event RootDisproved(uint32 indexed epoch, bytes32 root, address indexed provider, address indexed by);
    event Claimed(address indexed provider, uint128 amount, uint128 cumulative);
    event Burned(address indexed payer, uint32 indexed epoch, bytes32 indexed work, uint128 nanoUsd, uint256 amount);
    event Observed(uint40 timestamp, uint256 nanoUsd);

    error TermsInvalid(Terms terms);
    error WatcherInvalid(address watcher);
    error ModeWrong(Mode mode);
    error NotSettler(address caller);
    error NotWatcher(address caller);
    error NotStarted(uint40 start, uint256 timestamp);
    error EpochNotOver(uint32 epoch, uint256 over, uint256 timestamp);
    error EpochNotHigher(uint32 epoch, uint32 next);
    error RootEmpty();
    error RootPending(uint32 epoch, uint40 countsFrom);
    error NoRootPending();
    error TotalBelowLast(uint128 total, uint128 last);
    error AboveSchedule(uint32 epoch, uint128 amount, uint128 limit);
    error ChallengeWindowOver(uint40 countsFrom, uint256 timestamp);
    error ProofInvalid(address provider, uint128 cumulative);
    /// @notice The two leaves do not contradict each other.
    error NoContradiction();
    error NothingDue(address provider, uint128 cumulative, uint128 claimed);
    /// @notice The root's leaves are more than its total, which others have claimed already.
    error RootOverdrawn(uint128 amount, uint128 left);
    error ZeroAmount();
    /// @notice The burn needs more than the payer will burn.
    error BurnAboveMost(uint256 amount, uint256 most);
    error Paused(Breaker breaker);
    error PriceInvalid(uint256 nanoUsd, uint256 updatedAt);
    error ObservedTooSoon(uint256 next, uint256 timestamp);

    /// @notice Posts the root of an epoch that is over. Only the settler, when no other root is pending. `total` is the sum of
    /// the leaves.
    function postRoot(uint32 epoch, bytes32 root, uint128 total) external;

    /// @notice Takes a pending root away. Only a watcher, within the challenge window.
    function veto() external;

    /// @notice Takes a pending root away that has a leaf for a provider, `cumulative`, and another, or one that is lower than the
    /// root had that counts. `other` is the other leaf, of the pending root or of the one that counts. For anybody, within the
    /// challenge window.
    function disprove(
        address provider,
        uint128 cumulative,
        bytes32[] calldata proof,
        uint128 other,
        bytes32[] calldata otherProof
    ) external;

    /// @notice Mints what a provider's leaf says above what it had claimed. For anybody; the tokens go to the provider. Never
    /// pauses.
    function claim(address provider, uint128 cumulative, bytes32[] calldata proof) external returns (uint128 amount);

    /// @notice Pays `nanoUsd` for `work` by burning its worth of the caller's tokens, `most` at most.
    function burn(uint128 nanoUsd, uint256 most, bytes32 work) external returns (uint256 amount);

    /// @notice Writes the oracle's price down. For anybody.
    function observe() external;

    function terms() external view returns (Terms memory);
    function isWatcher(address account) external view returns (bool);

    /// @notice What an epoch emits at most.
    function emissionOf(uint32 epoch) external view returns (uint128);

    /// @notice What a root of this epoch may add now, without what rounding left of the last.
    function mintable(uint32 epoch) external view returns (uint128);

    /// @notice The epoch that now belongs to.
    function currentEpoch() external view returns (uint32);

    /// @notice The root that claims are measured by now.
    function rootOf() external view returns (Root memory);
    function pendingRoot() external view returns (Root memory);
    /// @notice The first epoch whose root can be posted.
    function nextEpoch() external view returns (uint32);
    function claimedOf(address provider) external view returns (uint128);
    function claimed() external view returns (uint128);
    function burnedIn(uint32 epoch) external view returns (uint256 nanoUsd);
    function observations() external view returns (uint256);

    /// @notice Nano-dollars for one whole token, over the last `twapWindow`; 0 without history.
    function twap() external view returns (uint256 nanoUsd);
    function breaker() external view returns (Breaker);
}
