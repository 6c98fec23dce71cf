// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IPriceOracle} from "./interfaces/IPriceOracle.sol";
import {IRewards} from "./interfaces/IRewards.sol";

/// @dev What it promises stands in IRewards; src/core/ledger/rewards.ts and burn-and-mint.ts reckon the same. It holds no money and
/// calls nobody but the oracle, which cannot change anything by being read.
contract Rewards is IRewards, ERC20 {
    using SafeCast for uint256;

    uint256 public constant OBSERVATIONS = 64;
    /// @dev In `twapWindow`, at most: so the ring always reaches back over it.
    uint40 public constant OBSERVATIONS_PER_WINDOW = 32;
    /// @dev What rounding leaves of an epoch: less than a unit for each provider. More than this of a rest lapses.
    uint128 public constant MAX_CARRY = 1e9;
    uint256 public constant MAX_WATCHERS = 32;

    uint256 private constant BPS = 10_000;
    uint256 private constant TOKEN = 1e18;

    struct Observation {
        uint40 timestamp;
        uint80 nanoUsd;
        /// @dev Price times seconds, up to `timestamp`.
        uint136 cumulative;
    }

    Terms private _terms;
    Root private _counted;
    Root private _pending;
    uint128 private _carry;
    uint32 private _nextEpoch;
    Observation[OBSERVATIONS] private _ring;

    /// @inheritdoc IRewards
    uint128 public claimed;
    /// @inheritdoc IRewards
    uint256 public observations;
    /// @inheritdoc IRewards
    mapping(address account => bool) public isWatcher;
    /// @inheritdoc IRewards
    mapping(address provider => uint128) public claimedOf;
    /// @inheritdoc IRewards
    mapping(uint32 epoch => uint256 nanoUsd) public burnedIn;

    constructor(string memory name_, string memory symbol_, Terms memory terms_, address[] memory watchers)
        ERC20(name_, symbol_)
    {
        bool burns = terms_.mode == Mode.BurnAndMint;
        bool sane = terms_.settler != address(0) && terms_.start >= block.timestamp && terms_.epochLength >= 1 hours
            && terms_.epochLength <= 30 days && terms_.halvingEpochs != 0 && terms_.firstEmission != 0
            && terms_.challengeWindow >= 1 hours && terms_.challengeWindow <= terms_.epochLength
            && (terms_.genesis != 0) == (terms_.genesisHolder != address(0))
            && (burns ? _burnsSanely(terms_) : _burnsNothing(terms_)) && watchers.length <= MAX_WATCHERS;
        if (!sane) revert TermsInvalid(terms_);
        _terms = terms_;
        for (uint256 i = 0; i < watchers.length; i++) {
            if (watchers[i] == address(0) || watchers[i] == terms_.settler) revert WatcherInvalid(watchers[i]);
            isWatcher[watchers[i]] = true;
        }
        if (terms_.genesis != 0) _mint(terms_.genesisHolder, terms_.genesis);
    }

    /// @inheritdoc IRewards
    function postRoot(uint32 epoch, bytes32 root, uint128 total) external {
        if (msg.sender != _terms.settler) revert NotSettler(msg.sender);
        if (root == 0) revert RootEmpty();
        uint256 over = _terms.start + (uint256(epoch) + 1) * _terms.epochLength;
        if (block.timestamp < over) revert EpochNotOver(epoch, over, block.timestamp);
        if (_pending.root != 0) {
            if (!_counts()) revert RootPending(_pending.epoch, _pending.countsFrom);
            uint128 rest = _pending.limit - (_pending.total - _counted.total);
            _carry = rest < MAX_CARRY ? rest : MAX_CARRY;
            _nextEpoch = _pending.epoch + 1;
            _counted = _pending;
        }
        if (epoch < _nextEpoch) revert EpochNotHigher(epoch, _nextEpoch);
        if (total < _counted.total) revert TotalBelowLast(total, _counted.total);
        if (_terms.mode == Mode.BurnAndMint) _checkBreaker();
        uint128 limit = mintable(epoch) + _carry;
        if (total - _counted.total > limit) revert AboveSchedule(epoch, total - _counted.total, limit);

        uint40 countsFrom = uint40(block.timestamp) + _terms.challengeWindow;
        _pending = Root(root, total, limit, epoch, countsFrom);
        emit RootPosted(epoch, root, total, limit, countsFrom);
    }

    /// @inheritdoc IRewards
    function veto() external {
        if (!isWatcher[msg.sender]) revert NotWatcher(msg.sender);
        _checkChallengeable();
        emit RootVetoed(_pending.epoch, _pending.root, msg.sender);
        delete _pending;
    }

    /// @inheritdoc IRewards
    function disprove(
        address provider,
        uint128 cumulative,
        bytes32[] calldata proof,
        uint128 other,
        bytes32[] calldata otherProof
    ) external {
        _checkChallengeable();
        if (!_isLeaf(_pending.root, provider, cumulative, proof)) revert ProofInvalid(provider, cumulative);
        bool twice = other != cumulative && _isLeaf(_pending.root, provider, other, otherProof);
        bool shrunk = other > cumulative && _isLeaf(_counted.root, provider, other, otherProof);
        if (!twice && !shrunk) revert NoContradiction();
        emit RootDisproved(_pending.epoch, _pending.root, provider, msg.sender);
        delete _pending;
    }

    /// @inheritdoc IRewards
    function claim(address provider, uint128 cumulative, bytes32[] calldata proof) external returns (uint128 amount) {
        Root memory current = rootOf();
        if (!_isLeaf(current.root, provider, cumulative, proof)) revert ProofInvalid(provider, cumulative);
        uint128 before = claimedOf[provider];
        if (cumulative <= before) revert NothingDue(provider, cumulative, before);
        amount = cumulative - before;
        uint128 left = current.total - claimed;
        if (amount > left) revert RootOverdrawn(amount, left);
        claimedOf[provider] = cumulative;
        claimed += amount;
        emit Claimed(provider, amount, cumulative);
        _mint(provider, amount);
    }

    /// @inheritdoc IRewards
    function burn(uint128 nanoUsd, uint256 most, bytes32 work) external returns (uint256 amount) {
        _onlyBurning();
        if (nanoUsd == 0) revert ZeroAmount();
        uint32 epoch = currentEpoch();
        _checkBreaker();
        amount = Math.ceilDiv(uint256(nanoUsd) * TOKEN, twap());
        if (amount > most) revert BurnAboveMost(amount, most);
        burnedIn[epoch] += nanoUsd;
        emit Burned(msg.sender, epoch, work, nanoUsd, amount);
        _burn(msg.sender, amount);
    }

    /// @inheritdoc IRewards
    function observe() external {
        _onlyBurning();
        (uint256 nanoUsd, uint256 updatedAt) = IPriceOracle(_terms.oracle).price();
        bool sane = nanoUsd != 0 && nanoUsd <= type(uint80).max && _isFresh(updatedAt);
        if (!sane) revert PriceInvalid(nanoUsd, updatedAt);
        uint256 count = observations;
        uint136 cumulative = 0;
        if (count != 0) {
            Observation storage last = _observation(count - 1);
            uint256 next = last.timestamp + _terms.twapWindow / OBSERVATIONS_PER_WINDOW;
            if (block.timestamp < next) revert ObservedTooSoon(next, block.timestamp);
            cumulative = uint136(_cumulativeFrom(last, block.timestamp));
        }
        _ring[count % OBSERVATIONS] = Observation(uint40(block.timestamp), uint80(nanoUsd), cumulative);
        observations = count + 1;
        emit Observed(uint40(block.timestamp), nanoUsd);
    }

    /// @inheritdoc IRewards
    function terms() external view returns (Terms memory) {
        return _terms;
    }

    /// @inheritdoc IRewards
    function emissionOf(uint32 epoch) public view returns (uint128) {
        return _terms.firstEmission >> (epoch / _terms.halvingEpochs);
    }

    /// @inheritdoc IRewards
    function mintable(uint32 epoch) public view returns (uint128) {
        uint128 cap = emissionOf(epoch);
        if (_terms.mode == Mode.Emission) return cap;
        uint256 average = twap();
        if (average == 0) return 0;
        uint256 worth = burnedIn[epoch] * (BPS - _terms.burnFeeBps) / BPS;
        uint256 amount = worth * TOKEN / average;
        return amount < cap ? uint128(amount) : cap;
    }

    /// @inheritdoc IRewards
    function currentEpoch() public view returns (uint32) {
        if (block.timestamp < _terms.start) revert NotStarted(_terms.start, block.timestamp);
        return ((block.timestamp - _terms.start) / _terms.epochLength).toUint32();
    }

    /// @inheritdoc IRewards
    function rootOf() public view returns (Root memory) {
        return _counts() ? _pending : _counted;
    }

    /// @inheritdoc IRewards
    function pendingRoot() external view returns (Root memory none) {
        return _counts() ? none : _pending;
    }

    /// @inheritdoc IRewards
    function nextEpoch() external view returns (uint32) {
        return _counts() ? _pending.epoch + 1 : _nextEpoch;
    }

    /// @inheritdoc IRewards
    function twap() public view returns (uint256 nanoUsd) {
        uint256 count = observations;
        uint256 window = _terms.twapWindow;
        if (count == 0) return 0;
        uint256 from = block.timestamp - window;
        uint256 low = count > OBSERVATIONS ? count - OBSERVATIONS : 0;
        if (_observation(low).timestamp > from) return 0;
        // The last observation that is not after `from`.
        uint256 high = count - 1;
        while (low < high) {
            uint256 middle = (low + high + 1) / 2;
            if (_observation(middle).timestamp <= from) low = middle;
            else high = middle - 1;
        }
        uint256 until = _cumulativeFrom(_observation(count - 1), block.timestamp);
        return (until - _cumulativeFrom(_observation(low), from)) / window;
    }

    /// @inheritdoc IRewards
    function breaker() public view returns (Breaker) {
        uint256 average = twap();
        if (average == 0) return Breaker.NoHistory;
        if (!_isFresh(_observation(observations - 1).timestamp)) return Breaker.ObservationOld;
        (uint256 spot, uint256 updatedAt) = IPriceOracle(_terms.oracle).price();
        if (!_isFresh(updatedAt)) return Breaker.OracleOld;
        uint256 apart = spot > average ? spot - average : average - spot;
        // A price that large is far off, and would not fit below.
        if (spot > type(uint80).max || apart * BPS > average * _terms.maxDeviationBps) return Breaker.PriceDeviates;
        return Breaker.None;
    }

    function _burnsSanely(Terms memory terms_) private pure returns (bool) {
        return terms_.oracle != address(0) && terms_.genesis != 0 && terms_.twapWindow >= 10 minutes
            && terms_.twapWindow <= 7 days && terms_.maxAge >= terms_.twapWindow / OBSERVATIONS_PER_WINDOW
            && terms_.maxAge <= terms_.twapWindow && terms_.maxDeviationBps != 0 && terms_.maxDeviationBps <= BPS / 2
            && terms_.burnFeeBps < BPS;
    }

    function _burnsNothing(Terms memory terms_) private pure returns (bool) {
        return terms_.oracle == address(0) && terms_.twapWindow == 0 && terms_.maxAge == 0 && terms_.maxDeviationBps == 0
            && terms_.burnFeeBps == 0;
    }

    function _onlyBurning() private view {
        if (_terms.mode != Mode.BurnAndMint) revert ModeWrong(_terms.mode);
    }

    function _checkBreaker() private view {
        Breaker tripped = breaker();
        if (tripped != Breaker.None) revert Paused(tripped);
    }

    function _checkChallengeable() private view {
        if (_pending.root == 0) revert NoRootPending();
        if (_counts()) revert ChallengeWindowOver(_pending.countsFrom, block.timestamp);
    }

    function _counts() private view returns (bool) {
        return _pending.root != 0 && block.timestamp >= _pending.countsFrom;
    }

    /// @dev No older than `maxAge`, and not of the future.
    function _isFresh(uint256 timestamp) private view returns (bool) {
        return timestamp <= block.timestamp && block.timestamp - timestamp <= _terms.maxAge;
    }

    function _observation(uint256 index) private view returns (Observation storage) {
        return _ring[index % OBSERVATIONS];
    }

    /// @dev A price holds from its observation to the next.
    function _cumulativeFrom(Observation storage last, uint256 timestamp) private view returns (uint256) {
        return last.cumulative + uint256(last.nanoUsd) * (timestamp - last.timestamp);
    }

    function _isLeaf(bytes32 root, address provider, uint128 cumulative, bytes32[] calldata proof) private pure returns (bool) {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(provider, cumulative))));
        return root != 0 && MerkleProof.verifyCalldata(proof, root, leaf);
    }
}
