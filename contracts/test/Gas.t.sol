// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IChannels} from "../src/interfaces/IChannels.sol";
import {ILeases} from "../src/interfaces/ILeases.sol";
import {IStakes} from "../src/interfaces/IStakes.sol";
import {ChannelKit} from "./kit/ChannelKit.sol";
import {LeaseKit} from "./kit/LeaseKit.sol";
import {PayoutKit} from "./kit/PayoutKit.sol";

/// @dev What each operation costs, as a receipt would say it: each call is a transaction of its own, with its 21,000 gas and
/// its data. Accounts have been used before, as they are on any day but the first. The figures go to snapshots/gas.json,
/// which is committed; `npm run bench:gas` puts them beside their bars.
/// forge-config: default.isolate = true
contract GasTest is ChannelKit, LeaseKit, PayoutKit {
    function setUp() public override {
        super.setUp();
        // Nobody's account is new.
        fund(tenant, 1000 * USD);
        fund(provider, 1);
        fund(stranger, 1);
        fundGateway(1000 * USD, 2000 * USD);
        IChannels.ChannelConfig memory other = config();
        other.salt = bytes32(uint256(99));
        deposit(other, 10 * USD);
        claim(other, 5 * USD);
        channels.settle(gateway, address(usdc));
        stakes.register(keccak256("us"));
        stakes.stake(address(this), USD);
    }

    function measured(string memory name) private {
        vm.snapshotGasLastCall("gas", name);
    }

    /// @dev The last call, shared by `count`.
    function measuredEach(string memory name, uint256 count) private {
        vm.snapshotValue("gas", name, vm.lastCallGas().gasTotalUsed / count);
    }

    function test_channels() public {
        IChannels.ChannelConfig memory channel = config();
        vm.prank(tenant);
        channels.deposit(channel, 10 * USD, address(0), "");
        measured("channel deposit, first");
        vm.prank(tenant);
        channels.deposit(channel, 10 * USD, address(0), "");
        measured("channel deposit, further");
        IChannels.VoucherClaim[] memory all = rows(row(channel, TENANT_KEY, 6 * USD, 6 * USD));
        vm.prank(gateway);
        channels.claim(all);
        measured("voucher claim, alone");
        channels.settle(gateway, address(usdc));
        measured("channel settle");
        vm.prank(gateway);
        channels.refund(channel, USD);
        measured("channel refund");
        vm.prank(tenant);
        channels.initiateWithdraw(channel, USD);
        measured("channel exit, asked");
        vm.warp(START + DELAY);
        vm.prank(tenant);
        channels.finalizeWithdraw(channel);
        measured("channel exit, finished");
    }

    function test_voucherClaimsOf25() public {
        claimMany("voucher claim, each of 25", 25);
    }

    function test_voucherClaimsOf200() public {
        claimMany("voucher claim, each of 200", 200);
    }

    function claimMany(string memory name, uint256 count) private {
        IChannels.VoucherClaim[] memory all = new IChannels.VoucherClaim[](count);
        for (uint256 i = 0; i < count; i++) {
            IChannels.ChannelConfig memory channel = config();
            channel.salt = bytes32(i);
            deposit(channel, 10 * USD);
            claim(channel, USD);
            all[i] = row(channel, TENANT_KEY, 6 * USD, 5 * USD);
        }
        vm.prank(gateway);
        channels.claim(all);
        measuredEach(name, count);
    }

    function test_leases() public {
        vm.prank(tenant);
        leases.deposit(tenant, USD);
        measured("lease account deposit");
        ILeases.Opening memory opening = openingOf(order(), bid());
        bytes32 id = leases.orderId(order());
        ILeases.Lease memory lease = leaseOf(order(), bid());
        leases.open(opening);
        measured("lease open");
        vm.warp(START + 1 hours);
        leases.settle(id, lease);
        measured("lease settle");
        vm.prank(tenant);
        leases.topUp(id, lease, USD);
        measured("lease top-up");
        lease.deposit += USD;
        vm.warp(START + 2 hours);
        vm.prank(tenant);
        leases.close(closing(id, lease));
        measured("lease close");
        vm.prank(provider);
        leases.withdraw(provider, USD);
        measured("lease account withdraw");
    }

    function test_leaseClosedWithinItsOrdersTime() public {
        bytes32 id = leases.orderId(order());
        ILeases.Lease memory lease = leaseOf(order(), bid());
        leases.open(openingOf(order(), bid()));
        vm.warp(START + 2 minutes);
        vm.prank(tenant);
        leases.close(closing(id, lease));
        measured("lease close, order still open");
    }

    function test_leasesOf25() public {
        ILeases.Opening[] memory openings = new ILeases.Opening[](25);
        ILeases.Closing[] memory closings = new ILeases.Closing[](25);
        for (uint256 i = 0; i < 25; i++) {
            // Each of another tenant and of another provider: nothing is warm because of a neighbour.
            uint256 tenantKey = 0x1000 + i;
            uint256 providerKey = 0x2000 + i;
            ILeases.Order memory each = order();
            each.salt = keccak256(abi.encode(i));
            each.tenant = vm.addr(tenantKey);
            ILeases.Bid memory bid_ = bid();
            bid_.provider = vm.addr(providerKey);
            leases.deposit(each.tenant, 49 * USD);
            leases.deposit(bid_.provider, 1);
            bytes32 id = leases.orderId(each);
            openings[i] = ILeases.Opening(
                each, signed(tenantKey, leases.orderDigest(each)), bid_, signed(providerKey, leases.bidDigest(id, bid_))
            );
            closings[i] = closing(id, leaseOf(each, bid_));
            closings[i].tenantSignature = signed(tenantKey, leases.closeDigest(id));
        }
        leases.openMany(openings);
        measuredEach("lease open, each of 25", 25);
        vm.warp(START + 2 hours);
        leases.closeMany(closings);
        measuredEach("lease close by signature, each of 25", 25);
    }

    function test_payouts() public {
        bytes32[] memory leaves = new bytes32[](1000);
        for (uint256 i = 0; i < 1000; i++) {
            leaves[i] = leafOf(address(uint160(0xf000 + i)), uint128(USD));
        }
        leaves[7] = leafOf(provider, 2 * USD);
        bytes32[][] memory tree = treeOf(leaves);
        postRoot(rootOf(tree), 1000 * USD, 1);
        vm.warp(START + 1 hours);
        payouts.claim(gateway, provider, 2 * USD, proofOf(tree, 7));
        measured("payout claim, first of 1,000 leaves");
        leaves[7] = leafOf(provider, 4 * USD);
        tree = treeOf(leaves);
        postRoot(rootOf(tree), 1000 * USD, 2);
        vm.warp(START + 2 hours);
        payouts.claim(gateway, provider, 4 * USD, proofOf(tree, 7));
        measured("payout claim, further");
        vm.prank(gateway);
        payouts.postRoot(keccak256("another"), 1000 * USD, 3);
        measured("payout root");
        payouts.claimByIou(gateway, provider, 3, 5 * USD, iou(GATEWAY_KEY, provider, 3, 5 * USD));
        measured("payout claim by IOU");
        bytes memory signature = iou(GATEWAY_KEY, provider, 3, 6 * USD);
        vm.prank(provider);
        payouts.challenge(gateway, provider, 3, 6 * USD, signature);
        measured("payout challenge");
        vm.warp(START + 1 days);
        payouts.voidRoot(gateway, provider, 6 * USD);
        measured("payout root voided");
    }

    function test_stakes() public {
        vm.prank(provider);
        stakes.register(keccak256("a description"));
        measured("provider registration");
        bytes memory signature = signed(NODE_KEY, stakes.nodeDigest(provider, node));
        vm.prank(provider);
        stakes.addNode(node, signature);
        measured("node key");
        stakes.stake(provider, 1000 * USD);
        measured("stake, first");
        IStakes.Receipt memory one = IStakes.Receipt(node, gateway, 1, keccak256("one"));
        IStakes.Receipt memory two = IStakes.Receipt(node, gateway, 1, keccak256("two"));
        bytes memory first = signed(NODE_KEY, stakes.receiptDigest(one));
        bytes memory second = signed(NODE_KEY, stakes.receiptDigest(two));
        vm.prank(stranger);
        stakes.slashDoubleReceipt(one, first, two, second);
        measured("slash by two receipts");
    }
}
