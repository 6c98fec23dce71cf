// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Leases} from "../src/Leases.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {ILeases} from "../src/interfaces/ILeases.sol";
import {Wallet} from "./kit/Kit.sol";
import {LeaseKit} from "./kit/LeaseKit.sol";

contract LeasesTest is LeaseKit {
    // Accounts

    function test_anAccountTakesDepositsFromAnybodyAndIsEmptiedByItsOwner() public {
        vm.prank(stranger);
        leases.deposit(tenant, 3 * USD);
        eq(leases.balanceOf(tenant), 3 * USD, "balance");
        uint256 before = usdc.balanceOf(provider);
        vm.prank(tenant);
        leases.withdraw(provider, 2 * USD);
        eq(usdc.balanceOf(provider) - before, 2 * USD, "sent where its owner says");
        vm.prank(tenant);
        refuses(abi.encodeWithSelector(ILeases.BalanceTooLow.selector, tenant, 1 * USD, 1 * USD + 1));
        leases.withdraw(tenant, 1 * USD + 1);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(ILeases.BalanceTooLow.selector, stranger, uint256(0), uint256(1)));
        leases.withdraw(stranger, 1);
    }

    function test_refusesAmountsAndAccountsOfZero() public {
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        leases.deposit(tenant, 0);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        leases.deposit(address(0), 1);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        leases.withdraw(tenant, 0);
    }

    function test_refusesATokenFinerThanAnAttoDollar() public {
        IERC20Metadata fine = new Fine();
        refuses(abi.encodeWithSelector(ILeases.TooManyDecimals.selector, uint8(19), uint8(18)));
        new Leases(fine, guardian);
        eq(leases.scale(), 1e12, "atto-dollars to a unit of six decimals");
    }

    // Opening

    function test_opensWithBothSignaturesWhoeverBringsThem() public {
        fund(tenant, 100 * USD);
        ILeases.Opening memory opening = openingOf(order(), bid());
        bytes32 id = leases.orderId(order());
        vm.expectEmit();
        emit ILeases.LeaseOpened(
            id, tenant, provider, bid().node, RATE, 48 * USD, uint40(START), uint40(START + 5 minutes), 10 minutes
        );
        vm.prank(stranger);
        eq(leases.open(opening), id, "id");
        eq(leases.balanceOf(tenant), 52 * USD, "the deposit is set aside");
    }

    function test_orderAndBidAreTypedData() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Baseload Leases"),
                keccak256("1"),
                block.chainid,
                address(leases)
            )
        );
        ILeases.Order memory o = order();
        bytes32 id = keccak256(
            abi.encode(
                keccak256(
                    "Order(address tenant,address gateway,bytes32 terms,uint96 maxRate,uint128 deposit,uint32 minNotice,uint40 openBy,bytes32 salt)"
                ),
                o.tenant,
                o.gateway,
                o.terms,
                o.maxRate,
                o.deposit,
                o.minNotice,
                o.openBy,
                o.salt
            )
        );
        eq(leases.orderId(o), id, "order id");
        eq(leases.orderDigest(o), keccak256(abi.encodePacked(hex"1901", domain, id)), "order digest");
        ILeases.Bid memory b = bid();
        bytes32 hash = keccak256(
            abi.encode(
                keccak256("Bid(bytes32 order,address provider,bytes32 node,uint96 rate,uint32 notice,uint40 openBy)"),
                id,
                b.provider,
                b.node,
                b.rate,
                b.notice,
                b.openBy
            )
        );
        eq(leases.bidDigest(id, b), keccak256(abi.encodePacked(hex"1901", domain, hash)), "bid digest");
        hash = keccak256(abi.encode(keccak256("Close(bytes32 lease)"), id));
        eq(leases.closeDigest(id), keccak256(abi.encodePacked(hex"1901", domain, hash)), "close digest");
    }

    function test_refusesForgedMatches() public {
        fund(tenant, 100 * USD);
        ILeases.Opening memory opening = openingOf(order(), bid());
        bytes32 id = leases.orderId(order());
        opening.tenantSignature = signed(STRANGER_KEY, leases.orderDigest(order()));
        refuses(abi.encodeWithSelector(ILeases.OrderSignatureInvalid.selector, id, tenant));
        leases.open(opening);

        opening = openingOf(order(), bid());
        opening.bid.rate -= 1;
        refuses(abi.encodeWithSelector(ILeases.BidSignatureInvalid.selector, id, provider));
        leases.open(opening);

        // A bid for another order.
        ILeases.Order memory other = order();
        other.salt = bytes32(uint256(1));
        opening = openingOf(order(), bid());
        opening.order = other;
        opening.tenantSignature = signed(TENANT_KEY, leases.orderDigest(other));
        bytes32 otherId = leases.orderId(other);
        refuses(abi.encodeWithSelector(ILeases.BidSignatureInvalid.selector, otherId, provider));
        leases.open(opening);
    }

    function test_refusesTermsThatTheOrderDoesNotAllow() public {
        fund(tenant, 100 * USD);
        bytes32 id = leases.orderId(order());
        ILeases.Bid memory bad = bid();
        bad.rate += 1;
        ILeases.Opening memory opening = openingOf(order(), bad);
        refuses(abi.encodeWithSelector(ILeases.RateAboveOrder.selector, id, RATE + 1, RATE));
        leases.open(opening);

        bad = bid();
        bad.notice -= 1;
        opening = openingOf(order(), bad);
        refuses(abi.encodeWithSelector(ILeases.NoticeBelowOrder.selector, id, uint32(599), uint32(600)));
        leases.open(opening);

        ILeases.Order memory mine = order();
        mine.gateway = gateway;
        opening = openingOf(mine, bid());
        id = leases.orderId(mine);
        refuses(abi.encodeWithSelector(ILeases.NotGateway.selector, id, address(this), gateway));
        leases.open(opening);
        vm.prank(gateway);
        leases.open(opening);
    }

    function test_refusesWhatHasExpiredAtTheSecond() public {
        fund(tenant, 100 * USD);
        ILeases.Order memory late = order();
        late.openBy = uint40(START + 60);
        ILeases.Bid memory lateBid = bid();
        lateBid.openBy = uint40(START + 61);
        ILeases.Opening memory opening = openingOf(late, lateBid);
        bytes32 id = leases.orderId(late);
        vm.warp(START + 61);
        refuses(abi.encodeWithSelector(ILeases.OrderExpired.selector, id, START + 60, START + 61));
        leases.open(opening);

        late.openBy = uint40(START + 62);
        opening = openingOf(late, lateBid);
        id = leases.orderId(late);
        vm.warp(START + 62);
        refuses(abi.encodeWithSelector(ILeases.BidExpired.selector, id, START + 61, START + 62));
        leases.open(opening);
        vm.warp(START + 61);
        leases.open(opening);
    }

    function test_refusesWhatTheTenantCannotPay() public {
        fund(tenant, 48 * USD - 1);
        ILeases.Opening memory opening = openingOf(order(), bid());
        refuses(abi.encodeWithSelector(ILeases.BalanceTooLow.selector, tenant, 48 * USD - 1, 48 * USD));
        leases.open(opening);
    }

    function test_anOrderOpensOnce() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        ILeases.Opening memory opening = openingOf(order(), bid());
        refuses(abi.encodeWithSelector(ILeases.LeaseExists.selector, id));
        leases.open(opening);
        // Not even after it is over, while the order stands.
        vm.warp(START + 5 minutes);
        vm.prank(tenant);
        leases.close(closing(id, lease));
        refuses(abi.encodeWithSelector(ILeases.LeaseExists.selector, id));
        leases.open(opening);
        eq(uint256(leases.slotOf(id)), 1, "remembered");
        vm.warp(START + 5 minutes + 1);
        refuses(abi.encodeWithSelector(ILeases.OrderExpired.selector, id, START + 5 minutes, START + 5 minutes + 1));
        leases.open(opening);
    }

    function test_aLeaseThatOutlivesItsOrderIsForgotten() public {
        (bytes32 id, ILeases.Lease memory lease) = opened();
        vm.warp(START + 5 minutes + 1);
        vm.prank(tenant);
        leases.close(closing(id, lease));
        eq(uint256(leases.slotOf(id)), 0, "its slot is free");
    }

    function test_walletsWithEip1271SignOrdersBidsAndClosings() public {
        ILeases.Order memory mine = order();
        mine.tenant = address(new Wallet(tenant));
        ILeases.Bid memory theirs = bid();
        theirs.provider = address(new Wallet(provider));
        vm.prank(stranger);
        leases.deposit(mine.tenant, 100 * USD);
        bytes32 id = leases.open(openingOf(mine, theirs));
        ILeases.Closing memory over = closing(id, leaseOf(mine, theirs));
        over.tenantSignature = signed(TENANT_KEY, leases.closeDigest(id));
        vm.warp(START + 1 hours);
        vm.prank(stranger);
        leases.close(over);
        eq(leases.balanceOf(theirs.provider), 2 * USD, "an hour");
    }

    function test_opensAndClosesMany() public {
        fund(tenant, 1000 * USD);
        ILeases.Opening[] memory openings = new ILeases.Opening[](3);
        ILeases.Closing[] memory closings = new ILeases.Closing[](3);
        for (uint256 i = 0; i < 3; i++) {
            ILeases.Order memory each = order();
            each.salt = bytes32(i);
            openings[i] = openingOf(each, bid());
            closings[i] = closing(leases.orderId(each), leaseOf(each, bid()));
        }
        leases.openMany(openings);
        vm.warp(START + 1 hours);
        vm.prank(tenant);
        leases.closeMany(closings);
        eq(leases.balanceOf(provider), 6 * USD, "three hours");
        eq(leases.balanceOf(tenant), 994 * USD, "the rest");
    }

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

contract Fine is ERC20("Fine", "F") {
    function decimals() public pure override returns (uint8) {
        return 19;
    }
}
