// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {Kit} from "./Kit.sol";

abstract contract PayoutKit is Kit {
    function leafOf(address provider_, uint128 cumulative) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(provider_, cumulative))));
    }

    /// @dev A tree in layers: `tree[0]` the leaves, the last the root. A node without a sibling goes up as it is.
    function treeOf(bytes32[] memory leaves) internal pure returns (bytes32[][] memory tree) {
        uint256 depth = 1;
        for (uint256 width = leaves.length; width > 1; width = (width + 1) / 2) {
            depth++;
        }
        tree = new bytes32[][](depth);
        tree[0] = leaves;
        for (uint256 i = 1; i < depth; i++) {
            bytes32[] memory below = tree[i - 1];
            tree[i] = new bytes32[]((below.length + 1) / 2);
            for (uint256 j = 0; j < tree[i].length; j++) {
                tree[i][j] = 2 * j + 1 < below.length ? Hashes.commutativeKeccak256(below[2 * j], below[2 * j + 1]) : below[2 * j];
            }
        }
    }

    function rootOf(bytes32[][] memory tree) internal pure returns (bytes32) {
        return tree[tree.length - 1][0];
    }

    function proofOf(bytes32[][] memory tree, uint256 index) internal pure returns (bytes32[] memory proof) {
        uint256 length = 0;
        proof = new bytes32[](tree.length);
        for (uint256 i = 0; i + 1 < tree.length; i++) {
            uint256 sibling = index ^ 1;
            if (sibling < tree[i].length) proof[length++] = tree[i][sibling];
            index /= 2;
        }
        bytes32[] memory exact = new bytes32[](length);
        for (uint256 i = 0; i < length; i++) {
            exact[i] = proof[i];
        }
        return exact;
    }

    /// @dev A tree of two: this leaf, and one of a neighbour nobody asks about.
    function pair(address provider_, uint128 cumulative) internal pure returns (bytes32 root, bytes32[] memory proof) {
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = leafOf(provider_, cumulative);
        leaves[1] = leafOf(address(0xeeee), 1);
        bytes32[][] memory tree = treeOf(leaves);
        return (rootOf(tree), proofOf(tree, 0));
    }

    function iou(uint256 key, address provider_, uint32 epoch, uint128 cumulative) internal view returns (bytes memory) {
        return signed(key, payouts.iouDigest(gateway, provider_, epoch, cumulative));
    }

    function fundGateway(uint128 funds, uint128 bond) internal {
        vm.prank(gateway);
        payouts.fund(gateway, funds);
        vm.prank(gateway);
        payouts.bond(gateway, bond);
    }

    function postRoot(bytes32 root, uint128 total, uint32 epoch) internal {
        vm.prank(gateway);
        payouts.postRoot(root, total, epoch);
    }
}
