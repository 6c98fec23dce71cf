// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Kit} from "./Kit.sol";

abstract contract StakeKit is Kit {
    bytes32 internal constant FINDING = keccak256("it sold another model");
    uint40 internal constant UNBONDING = 21 days;

    function registered() internal {
        vm.prank(provider);
        stakes.register(keccak256("a description"));
        bytes memory signature = signed(NODE_KEY, stakes.nodeDigest(provider, node));
        vm.prank(provider);
        stakes.addNode(node, signature);
    }

    function staked(uint128 amount) internal {
        registered();
        vm.prank(provider);
        stakes.stake(provider, amount);
    }

    function approvals(uint256 count, bytes32 digest) internal view returns (IStakes.Approval[] memory all) {
        all = new IStakes.Approval[](count);
        for (uint256 i = 0; i < count; i++) {
            all[i] = IStakes.Approval(vm.addr(auditorKeys[i]), signed(auditorKeys[i], digest));
        }
    }

    function propose(uint128 amount) internal {
        stakes.propose(provider, FINDING, amount, approvals(3, stakes.findingDigest(provider, FINDING, amount)));
    }

    function receipt(uint64 slot, string memory story) internal view returns (IStakes.Receipt memory) {
        return IStakes.Receipt(node, gateway, slot, keccak256(bytes(story)));
    }

    function signedReceipt(uint256 key, IStakes.Receipt memory paper) internal view returns (bytes memory) {
        return signed(key, stakes.receiptDigest(paper));
    }

    function slashReceipts(IStakes.Receipt memory one, IStakes.Receipt memory two) internal {
        bytes memory first = signedReceipt(NODE_KEY, one);
        bytes memory second = signedReceipt(NODE_KEY, two);
        vm.prank(stranger);
        stakes.slashDoubleReceipt(one, first, two, second);
    }
}
