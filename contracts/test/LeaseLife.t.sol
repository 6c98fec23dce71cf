// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Leases} from "../src/Leases.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {ILeases} from "../src/interfaces/ILeases.sol";
import {LeaseKit} from "./kit/LeaseKit.sol";

contract LeaseLifeTest is LeaseKit {
    // Earning

    function test_earnsByTheSecondUpToTheDeposit() public {
        (, ILeases.Lease memory lease) = opened();
        eq(leases.accrued(lease, uint40(START)), 0, "nothing at once");
        eq(leases.accrued(lease, uint40(START + 1)), 555, "a second, rounded down");
        eq(leases.accrued(lease, uint40(START + 9)), 5000, "no fraction is lost");
        eq(leases.accrued(lease, uint40(START + 1 hours)), 2 * USD, "an hour");
        eq(leases.accrued(lease, uint40(START + 24 hours)), 48 * USD, "a day is the deposit");
        eq(leases.accrued(lease, uint40(START + 365 days)), 48 * USD, "and never more");
    }

    function test_anybodySettlesAndTheLeaseStaysAsItIs() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        for (uint256 hour = 1; hour <= 3; hour++) {
            vm.warp(START + hour * 1 hours);
            vm.prank(stranger);
            leases.settle(id, lease);
            leases.settle(id, lease);
            eq(leases.balanceOf(provider), hour * 2 * USD, "each hour once");
        }
        // The tenant closes with the struct it always had: nobody's settling makes it stale.
        vm.prank(tenant);
        leases.close(closing(id, lease));
        eq(leases.balanceOf(provider), 6 * USD, "nothing twice");
        eq(leases.balanceOf(tenant), 94 * USD, "the rest is the tenant's");
    }

    function test_refusesALeaseThatIsNotInTheBook() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        lease.deposit += 1;
        vm.expectPartialRevert(ILeases.LeaseUnknown.selector);
        leases.settle(id, lease);
        vm.prank(tenant);
        vm.expectPartialRevert(ILeases.LeaseUnknown.selector);
        leases.close(closing(id, lease));
        lease.deposit -= 1;
        vm.prank(tenant);
        leases.close(closing(id, lease));
        vm.prank(tenant);
        vm.expectPartialRevert(ILeases.LeaseUnknown.selector);
        leases.close(closing(id, lease));
    }

    // Top-ups

    function test_theTenantTopsUp() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        vm.warp(START + 23 hours);
        leases.settle(id, lease);
        ILeases.Lease memory longer = leaseWith(lease, 96 * USD, 0);
        vm.expectEmit();
        emit ILeases.LeaseChanged(id, longer);
        vm.prank(tenant);
        leases.topUp(id, lease, 48 * USD);
        eq(leases.balanceOf(tenant), 4 * USD, "out of the account");
        vm.warp(START + 47 hours);
        vm.prank(tenant);
        leases.close(closing(id, longer));
        eq(leases.balanceOf(provider), 94 * USD, "47 hours");
        eq(leases.balanceOf(tenant), 6 * USD, "one hour back");
    }

    function test_refusesTopUpsThatWouldPayForTimeAtWhichNothingHadToRun() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        vm.warp(START + 24 hours);
        vm.startPrank(tenant);
        refuses(abi.encodeWithSelector(ILeases.LeaseRanOut.selector, id, 48 * USD));
        leases.topUp(id, lease, 1);
        vm.warp(START + 24 hours - 1);
        leases.topUp(id, lease, 1);
    }

    function test_refusesTopUpsOfOthersAndOfNothingAndOfTooMuch() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(ILeases.NotTenant.selector, id, stranger));
        leases.topUp(id, lease, 1);
        vm.startPrank(tenant);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        leases.topUp(id, lease, 0);
        refuses(abi.encodeWithSelector(ILeases.BalanceTooLow.selector, tenant, 52 * USD, 52 * USD + 1));
        leases.topUp(id, lease, 52 * USD + 1);
    }

    // Endings

    function test_theTenantClosesAtAnyTime() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        vm.warp(START + 90 minutes);
        vm.expectEmit();
        emit ILeases.LeaseClosed(id, 3 * USD, 45 * USD);
        vm.prank(tenant);
        leases.close(closing(id, lease));
        vm.prank(provider);
        leases.withdraw(provider, 3 * USD);
        vm.prank(tenant);
        leases.withdraw(tenant, 97 * USD);
        eq(leases.held(), 0, "all is gone");
    }

    function test_nobodyElseClosesBeforeItIsOver() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        vm.warp(START + 24 hours - 1);
        address[2] memory others = [provider, stranger];
        for (uint256 i = 0; i < 2; i++) {
            vm.prank(others[i]);
            refuses(abi.encodeWithSelector(ILeases.MayNotClose.selector, id, others[i], uint40(0)));
            leases.close(closing(id, lease));
        }
        vm.warp(START + 24 hours);
        vm.prank(stranger);
        leases.close(closing(id, lease));
        eq(leases.balanceOf(provider), 48 * USD, "used up");
    }

    function test_theTenantsSignatureLetsAGatewayClose() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        ILeases.Closing memory over = closing(id, lease);
        over.tenantSignature = signed(STRANGER_KEY, leases.closeDigest(id));
        refuses(abi.encodeWithSelector(ILeases.CloseSignatureInvalid.selector, id, tenant));
        leases.close(over);
        over.tenantSignature = signed(TENANT_KEY, leases.closeDigest(id));
        vm.warp(START + 1 hours);
        vm.prank(gateway);
        leases.close(over);
        eq(leases.balanceOf(provider), 2 * USD, "an hour");
    }

    function test_theProviderLeavesAfterItsNotice() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        vm.warp(START + 50 minutes);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(ILeases.NotProvider.selector, id, stranger));
        leases.giveNotice(id, lease);
        vm.prank(provider);
        leases.giveNotice(id, lease);
        ILeases.Lease memory ending = leaseWith(lease, lease.deposit, uint40(START + 60 minutes));
        vm.startPrank(provider);
        refuses(abi.encodeWithSelector(ILeases.NoticeGiven.selector, id, START + 60 minutes));
        leases.giveNotice(id, ending);
        vm.warp(START + 60 minutes - 1);
        refuses(abi.encodeWithSelector(ILeases.MayNotClose.selector, id, provider, START + 60 minutes));
        leases.close(closing(id, ending));
        // Nothing is earned after the notice, however late somebody closes.
        vm.warp(START + 10 hours);
        leases.close(closing(id, ending));
        eq(leases.balanceOf(provider), 2 * USD, "until the notice was over");
        eq(leases.balanceOf(tenant), 98 * USD, "the rest");
    }

    function test_underNoticeTheTenantTopsUpUntilItIsOver() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        vm.prank(provider);
        leases.giveNotice(id, lease);
        ILeases.Lease memory ending = leaseWith(lease, lease.deposit, uint40(START + 10 minutes));
        vm.startPrank(tenant);
        vm.warp(START + 10 minutes);
        refuses(abi.encodeWithSelector(ILeases.NoticeOver.selector, id, START + 10 minutes));
        leases.topUp(id, ending, 1);
        vm.warp(START + 10 minutes - 1);
        leases.topUp(id, ending, 1);
    }

    // Whatever the numbers

    function testFuzz_theDepositIsSplitWholly(uint96 rate, uint128 deposit, uint32[3] memory waits, uint128 more) public {
        rate = uint96(bound(rate, 0, 1e18));
        deposit = uint128(bound(deposit, 1, 900_000 * USD));
        more = uint128(bound(more, 1, 100_000 * USD));
        ILeases.Order memory mine = order();
        (mine.maxRate, mine.deposit) = (rate, deposit);
        ILeases.Bid memory theirs = bid();
        theirs.rate = rate;
        fund(tenant, 1_000_000 * USD);
        bytes32 id = leases.open(openingOf(mine, theirs));
        ILeases.Lease memory lease = leaseOf(mine, theirs);

        uint256 time = START + bound(waits[0], 0, 30 days);
        vm.warp(time);
        leases.settle(id, lease);
        uint256 settled = leases.balanceOf(provider);
        if (leases.accrued(lease, uint40(time)) < deposit) {
            vm.prank(tenant);
            leases.topUp(id, lease, more);
            lease.deposit += more;
        }
        time += bound(waits[1], 0, 30 days);
        vm.warp(time);
        leases.settle(id, lease);
        vm.assertGe(leases.balanceOf(provider), settled, "what was settled stays");
        time += bound(waits[2], 0, 30 days);
        vm.warp(time);
        vm.prank(tenant);
        leases.close(closing(id, lease));

        uint256 exact = (uint256(rate) * (time - START)) / 1e12;
        if (exact > lease.deposit) exact = lease.deposit;
        eq(leases.balanceOf(provider), exact, "rate times time, capped at the deposit");
        eq(leases.balanceOf(tenant), 1_000_000 * USD - exact, "the rest is the tenant's");
    }

    function leaseWith(ILeases.Lease memory lease, uint128 deposit, uint40 endsAt) private pure returns (ILeases.Lease memory) {
        return ILeases.Lease({
            tenant: lease.tenant,
            provider: lease.provider,
            rate: lease.rate,
            deposit: deposit,
            startedAt: lease.startedAt,
            openBy: lease.openBy,
            notice: lease.notice,
            endsAt: endsAt
        });
    }
}
