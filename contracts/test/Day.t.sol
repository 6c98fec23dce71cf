// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IChannels} from "../src/interfaces/IChannels.sol";
import {ChannelKit} from "./kit/ChannelKit.sol";
import {PayoutKit} from "./kit/PayoutKit.sol";

/// @dev The settlement of a day of a million paid requests, transaction by transaction: 2,000 tenants each sign vouchers to one
/// gateway, which owes 1,000 providers. That day
/// - each tenant's last voucher is claimed, in ten batches, and the gateway is paid once;
/// - each of 24 hourly payout roots is posted;
/// - a seventh of the providers claim, as each does once a week;
/// - a thirtieth of the tenants deposit more, as each does once a month.
/// No request costs a transaction, so their number does not matter. Sums go to snapshots/day.json.
/// forge-config: default.isolate = true
contract DayTest is ChannelKit, PayoutKit {
    uint256 private constant TENANTS = 2000;
    uint256 private constant PROVIDERS = 1000;
    uint256 private constant CLAIMS_A_BATCH = 200;

    function tenantKey(uint256 i) private pure returns (uint256) {
        return 0x100000 + i;
    }

    /// @dev As x402's clients make them: a random salt.
    function channelOf(uint256 i) private view returns (IChannels.ChannelConfig memory channel) {
        channel = config();
        channel.payer = vm.addr(tenantKey(i));
        channel.payerAuthorizer = channel.payer;
        channel.salt = keccak256(abi.encode(i));
    }

    /// @dev The tenants have channels with something claimed, the providers were paid before, the gateway has all it needs.
    function setUp() public override {
        super.setUp();
        usdc.mint(address(this), 1_000_000_000 * USD);
        for (uint256 i = 0; i < TENANTS; i++) {
            IChannels.ChannelConfig memory channel = channelOf(i);
            channels.deposit(channel, 10 * USD, address(0), "");
            IChannels.VoucherClaim[] memory all = rows(row(channel, tenantKey(i), USD, USD));
            vm.prank(gateway);
            channels.claim(all);
        }
        channels.settle(gateway, address(usdc));
        fundGateway(900_000 * USD, 2000 * USD);
        bytes32[][] memory tree = treeOfDay(0);
        postRoot(rootOf(tree), 1000 * USD, 1);
        vm.warp(START + 1 hours);
        for (uint256 i = 0; i < PROVIDERS; i++) {
            payouts.claim(gateway, providerAt(i), USD, proofOf(tree, i));
        }
    }

    function providerAt(uint256 i) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("provider", i)))));
    }

    function treeOfDay(uint128 hour) private pure returns (bytes32[][] memory) {
        bytes32[] memory leaves = new bytes32[](PROVIDERS);
        for (uint256 i = 0; i < PROVIDERS; i++) {
            leaves[i] = leafOf(providerAt(i), (1 + hour) * USD);
        }
        return treeOf(leaves);
    }

    function test_aDayOfAMillionPaidRequests() public {
        uint256 claims = claimVouchers();
        channels.settle(gateway, address(usdc));
        uint256 settling = used();
        (uint256 roots, uint256 payments) = payProviders();
        uint256 deposits = deposit();
        vm.snapshotValue("day", "vouchers: 2,000 claims in 10 batches", claims);
        vm.snapshotValue("day", "the gateway is paid", settling);
        vm.snapshotValue("day", "24 payout roots", roots);
        vm.snapshotValue("day", "143 providers claim", payments);
        vm.snapshotValue("day", "67 tenants deposit more", deposits);
        vm.snapshotValue("day", "in all", claims + settling + roots + payments + deposits);
    }

    function used() private view returns (uint256) {
        return vm.lastCallGas().gasTotalUsed;
    }

    function claimVouchers() private returns (uint256 gas) {
        for (uint256 first = 0; first < TENANTS; first += CLAIMS_A_BATCH) {
            IChannels.VoucherClaim[] memory all = new IChannels.VoucherClaim[](CLAIMS_A_BATCH);
            for (uint256 i = 0; i < CLAIMS_A_BATCH; i++) {
                uint128 spent = uint128(USD + (first + i) * 1009);
                all[i] = row(channelOf(first + i), tenantKey(first + i), spent, spent);
            }
            vm.prank(gateway);
            channels.claim(all);
            gas += used();
            // One transaction may use so much since Osaka (EIP-7825).
            vm.assertLe(used(), 16_777_216, "gas of one transaction");
        }
        for (uint256 i = 0; i < TENANTS; i++) {
            eq(claimedOf(channelOf(i)), USD + i * 1009, "claimed");
        }
    }

    function payProviders() private returns (uint256 roots, uint256 payments) {
        bytes32[][] memory tree;
        for (uint32 hour = 1; hour <= 24; hour++) {
            tree = treeOfDay(hour);
            postRoot(rootOf(tree), (1 + hour) * 1000 * USD, 1 + hour);
            roots += used();
            vm.warp(START + (1 + hour) * 1 hours);
        }
        for (uint256 i = 0; i < PROVIDERS; i += 7) {
            bytes32[] memory proof = proofOf(tree, i);
            payouts.claim(gateway, providerAt(i), 25 * USD, proof);
            payments += used();
            eq(payouts.paidTo(gateway, providerAt(i)), 25 * USD, "paid");
        }
    }

    function deposit() private returns (uint256 gas) {
        for (uint256 i = 0; i < TENANTS; i += 30) {
            IChannels.ChannelConfig memory channel = channelOf(i);
            rich(channel.payer);
            vm.prank(channel.payer);
            channels.deposit(channel, 10 * USD, address(0), "");
            gas += used();
        }
    }
}
