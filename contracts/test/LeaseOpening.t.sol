// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Leases} from "../src/Leases.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {ILeases} from "../src/interfaces/ILeases.sol";
import {Wallet} from "./kit/Kit.sol";
import {LeaseKit} from "./kit/LeaseKit.sol";

contract LeaseOpeningTest is LeaseKit {
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
}

contract Fine is ERC20("Fine", "F") {
    function decimals() public pure override returns (uint8) {
        return 19;
    }
}
