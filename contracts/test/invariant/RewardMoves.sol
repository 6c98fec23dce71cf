// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Rewards} from "../../src/Rewards.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {RewardKit, ToldOracle} from "../kit/RewardKit.sol";

/// @dev An honest settler, three providers, a payer and a watcher, in both modes, and a price that wanders, is late, or absurd. What
/// each provider has earned by the root that counts is kept here.
contract RewardMoves is RewardKit {
    uint256 private constant PROVIDERS = 3;

    struct World {
        Rewards rewards;
        uint256 burned;
        /// @dev The first epoch that was not posted.
        uint32 next;
        bytes32[][] pendingTree;
        bytes32[][] tree;
        uint128[3] pendingShares;
        uint128[3] shares;
    }

    World[2] private _worlds;
    bool public claimsWork = true;

    constructor() {
        setUp();
        oracle = new ToldOracle();
        _worlds[0].rewards = deploy(emissionTerms());
        _worlds[1].rewards = deploy(burnTerms());
        rewards = _worlds[1].rewards;
        steady(2 * NANO);
    }

    function rewardsOf(uint256 i) external view returns (Rewards) {
        return _worlds[i].rewards;
    }

    function burnedIn(uint256 i) external view returns (uint256) {
        return _worlds[i].burned;
    }

    /// @dev All that could be emitted by now.
    function scheduled() external view returns (uint256 sum) {
        uint256 ended = (block.timestamp - START) / EPOCH;
        for (uint32 epoch = 0; epoch < ended; epoch++) {
            sum += rewards.emissionOf(epoch);
        }
    }

    function earner(uint256 i) public pure returns (address) {
        return address(uint160(0xea4e00 + i));
    }

    function wait(uint32 time) external {
        vm.warp(block.timestamp + bound(time, 1, 8 hours));
    }

    /// @dev Mostly a small step from the average.
    function see(uint128 price, bool absurd) external {
        uint256 average = rewards.twap();
        told(absurd ? price : bound(price, average * 95 / 100 + 1, average * 105 / 100 + 1));
        try rewards.observe() {}
        catch (bytes memory why) {
            bytes4 kind = bytes4(why);
            require(
                kind == IRewards.ObservedTooSoon.selector || kind == IRewards.PriceInvalid.selector, "refused for another reason"
            );
        }
    }

    function settle(uint128 price) external {
        uint256 average = rewards.twap();
        price = uint128(bound(price, average * 97 / 100 + 1, average * 103 / 100 + 1));
        for (uint256 i = 0; i < 4; i++) {
            vm.warp(block.timestamp + AGE);
            told(price);
            rewards.observe();
        }
    }

    function pay(uint128 nanoUsd) external {
        if (rewards.breaker() != IRewards.Breaker.None) return;
        uint256 before = rewards.balanceOf(PAYER);
        uint256 most = before * rewards.twap() / 1e18;
        if (most == 0) return;
        nanoUsd = uint128(bound(nanoUsd, 1, most < 3000 * NANO ? most : 3000 * NANO));
        vm.prank(PAYER);
        _worlds[1].burned += rewards.burn(nanoUsd, before, 0);
    }

    /// @dev As src/core/ledger/rewards.ts splits it: rounded down.
    function postNext(bool mode, uint64[3] memory weights, uint8 skipped) external {
        World storage world = _worlds[mode ? 1 : 0];
        if (mode && rewards.breaker() != IRewards.Breaker.None) return;
        if (world.rewards.pendingRoot().root != 0) return;
        counted(world);
        uint32 epoch = world.next + (skipped % 4 == 0 ? 1 : 0);
        if (block.timestamp < START + (uint256(epoch) + 1) * EPOCH) return;
        uint256 pot = world.rewards.mintable(epoch);
        uint256 all = uint256(weights[0]) + weights[1] + weights[2];
        if (all == 0) return;
        bytes32[] memory leaves = new bytes32[](PROVIDERS);
        uint128 total = 0;
        for (uint256 i = 0; i < PROVIDERS; i++) {
            world.pendingShares[i] = world.shares[i] + uint128(pot * weights[i] / all);
            total += world.pendingShares[i];
            leaves[i] = leafOf(earner(i), world.pendingShares[i]);
        }
        world.pendingTree = treeOf(leaves);
        vm.prank(SETTLER);
        world.rewards.postRoot(epoch, rootOf(world.pendingTree), total);
    }

    /// @dev What pended, if nobody took it away.
    function counted(World storage world) private {
        if (world.pendingTree.length == 0 || world.rewards.rootOf().root != rootOf(world.pendingTree)) return;
        world.tree = world.pendingTree;
        world.shares = world.pendingShares;
        world.next = world.rewards.nextEpoch();
    }

    function veto(bool mode) external {
        Rewards token = _worlds[mode ? 1 : 0].rewards;
        if (token.pendingRoot().root == 0) return;
        vm.prank(WATCHER);
        token.veto();
    }

    function claimOne(bool mode, uint8 i) external {
        claimFor(_worlds[mode ? 1 : 0], i % PROVIDERS);
    }

    function claimFor(World storage world, uint256 i) private {
        counted(world);
        if (world.tree.length == 0 || world.shares[i] <= world.rewards.claimedOf(earner(i))) return;
        world.rewards.claim(earner(i), world.shares[i], proofOf(world.tree, i));
        if (world.rewards.balanceOf(earner(i)) != world.shares[i]) claimsWork = false;
    }

    /// @dev The settler is gone, and the oracle says nonsense: everybody claims what counts.
    function everybodyClaims() external {
        vm.warp(block.timestamp + 400 days);
        oracle.tell(0, 0);
        for (uint256 w = 0; w < 2; w++) {
            for (uint256 i = 0; i < PROVIDERS; i++) {
                claimFor(_worlds[w], i);
                if (_worlds[w].rewards.balanceOf(earner(i)) != _worlds[w].shares[i]) claimsWork = false;
            }
        }
    }
}
