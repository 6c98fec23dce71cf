// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Rewards} from "../../src/Rewards.sol";
import {IPriceOracle} from "../../src/interfaces/IPriceOracle.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {PayoutKit} from "./PayoutKit.sol";

/// @dev Says what it was told.
contract ToldOracle is IPriceOracle {
    uint256 private _nanoUsd;
    uint256 private _updatedAt;

    function tell(uint256 nanoUsd, uint256 updatedAt) external {
        (_nanoUsd, _updatedAt) = (nanoUsd, updatedAt);
    }

    function price() external view returns (uint256 nanoUsd, uint256 updatedAt) {
        return (_nanoUsd, _updatedAt);
    }
}

abstract contract RewardKit is PayoutKit {
    uint40 internal constant EPOCH = 1 days;
    uint40 internal constant CHALLENGE = 6 hours;
    uint128 internal constant EMISSION = 1000e18;
    uint40 internal constant TWAP = 1 hours;
    uint40 internal constant AGE = 20 minutes;
    uint128 internal constant GENESIS = 1_000_000e18;
    /// @dev Nano-dollars in a dollar.
    uint128 internal constant NANO = 1e9;

    address internal constant SETTLER = address(0x5e77);
    address internal constant WATCHER = address(0x3a7c);
    address internal constant PAYER = address(0xba1e);

    Rewards internal rewards;
    ToldOracle internal oracle;

    function emissionTerms() internal pure returns (IRewards.Terms memory agreement) {
        agreement.settler = SETTLER;
        agreement.start = uint40(START);
        agreement.epochLength = EPOCH;
        agreement.halvingEpochs = 4;
        agreement.firstEmission = EMISSION;
        agreement.challengeWindow = CHALLENGE;
    }

    function burnTerms() internal view returns (IRewards.Terms memory agreement) {
        agreement = emissionTerms();
        agreement.mode = IRewards.Mode.BurnAndMint;
        agreement.genesis = GENESIS;
        agreement.genesisHolder = PAYER;
        agreement.oracle = address(oracle);
        agreement.twapWindow = TWAP;
        agreement.maxAge = AGE;
        agreement.maxDeviationBps = 1000;
        agreement.burnFeeBps = 500;
    }

    function deploy(IRewards.Terms memory agreement) internal returns (Rewards) {
        return new Rewards("Test Reward", "testREW", agreement, watchers());
    }

    function watchers() internal pure returns (address[] memory all) {
        all = new address[](1);
        all[0] = WATCHER;
    }

    function post(uint32 epoch, bytes32 root, uint128 total) internal {
        vm.prank(SETTLER);
        rewards.postRoot(epoch, root, total);
    }

    /// @dev To the moment from which an epoch's root can be posted.
    function over(uint32 epoch) internal {
        vm.warp(START + (uint256(epoch) + 1) * EPOCH);
    }

    function counts() internal {
        vm.warp(block.timestamp + CHALLENGE);
    }

    /// @dev A root of two leaves, the second of which is `pair`'s neighbour's unit.
    function earned(uint32 epoch, uint128 cumulative) internal returns (bytes32[] memory proof) {
        bytes32 root;
        (root, proof) = pair(provider, cumulative);
        post(epoch, root, cumulative + 1);
    }

    function told(uint256 nanoUsd) internal {
        oracle.tell(nanoUsd, block.timestamp);
    }

    /// @dev A price that held for the whole window, and does now.
    function steady(uint256 nanoUsd) internal {
        for (uint256 i = 0; i <= 6; i++) {
            told(nanoUsd);
            rewards.observe();
            if (i < 6) vm.warp(block.timestamp + TWAP / 6);
        }
    }

    function paused(IRewards.Breaker why) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IRewards.Paused.selector, why);
    }
}
