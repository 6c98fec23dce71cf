// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MockUSDC} from "../../src/test-money/MockUSDC.sol";
import {Channels} from "../../src/Channels.sol";
import {Leases} from "../../src/Leases.sol";
import {Payouts} from "../../src/Payouts.sol";
import {Stakes} from "../../src/Stakes.sol";
import {IPayouts} from "../../src/interfaces/IPayouts.sol";
import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Eip3009Collector} from "../../src/collectors/Eip3009Collector.sol";
import {Vm} from "./Vm.sol";

/// @dev A wallet that is a contract: what its owner's key signs is its signature (EIP-1271).
contract Wallet is IERC1271 {
    address public immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (address signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        return signer == owner ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @dev Parties with keys, the token, the four contracts as they are deployed, and words for what tests do again and again.
abstract contract Kit {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant TENANT_KEY = 0xa11ce;
    uint256 internal constant PROVIDER_KEY = 0xb0b;
    uint256 internal constant GATEWAY_KEY = 0x9a7e;
    uint256 internal constant NODE_KEY = 0x40de;
    uint256 internal constant STRANGER_KEY = 0xbad;

    address internal immutable tenant = vm.addr(TENANT_KEY);
    address internal immutable provider = vm.addr(PROVIDER_KEY);
    address internal immutable gateway = vm.addr(GATEWAY_KEY);
    address internal immutable node = vm.addr(NODE_KEY);
    address internal immutable stranger = vm.addr(STRANGER_KEY);
    address internal immutable guardian = address(0x9a4d);
    address internal immutable pool = address(0x9001);

    uint256 internal constant START = 1_800_000_000;
    uint128 internal constant USD = 1e6;

    MockUSDC internal usdc;
    Channels internal channels;
    Eip3009Collector internal collector;
    Leases internal leases;
    Payouts internal payouts;
    Stakes internal stakes;
    /// @dev Five auditors, rising by address.
    uint256[] internal auditorKeys;

    function setUp() public virtual {
        vm.warp(START);
        usdc = new MockUSDC();
        channels = new Channels(usdc, guardian);
        collector = new Eip3009Collector(address(channels));
        leases = new Leases(usdc, guardian);
        payouts = new Payouts(usdc, guardian, payoutTerms());
        auditorKeys = risingKeys(5);
        address[] memory auditors = new address[](5);
        for (uint256 i = 0; i < 5; i++) {
            auditors[i] = vm.addr(auditorKeys[i]);
        }
        stakes = new Stakes(usdc, guardian, stakeTerms(), auditors);
        address[5] memory all = [tenant, provider, gateway, stranger, address(this)];
        for (uint256 i = 0; i < all.length; i++) {
            rich(all[i]);
        }
    }

    function payoutTerms() internal pure returns (IPayouts.Terms memory) {
        return IPayouts.Terms({
            challengeWindow: 1 hours,
            answerWindow: 12 hours,
            withdrawDelay: 2 days,
            minBond: 1000 * USD,
            penalty: 400 * USD,
            challengeDeposit: 10 * USD
        });
    }

    function stakeTerms() internal view returns (IStakes.Terms memory) {
        return IStakes.Terms({
            auditLatency: 7 days,
            appealWindow: 3 days,
            confirmWindow: 4 days,
            unbonding: 21 days,
            evidenceBps: 5000,
            findingCapBps: 2000,
            reporterBps: 1000,
            quorum: 3,
            appealQuorum: 4,
            pool: pool
        });
    }

    /// @dev Test money, and approvals for all four.
    function rich(address account) internal {
        usdc.mint(account, 1_000_000 * USD);
        address[4] memory spenders = [address(channels), address(leases), address(payouts), address(stakes)];
        for (uint256 i = 0; i < spenders.length; i++) {
            vm.prank(account);
            usdc.approve(spenders[i], type(uint256).max);
        }
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function risingKeys(uint256 count) private pure returns (uint256[] memory keys) {
        keys = new uint256[](count);
        for (uint256 i = 0; i < count; i++) {
            keys[i] = 0xad1 + i;
        }
        for (uint256 i = 0; i < count; i++) {
            for (uint256 j = i + 1; j < count; j++) {
                if (vm.addr(keys[j]) < vm.addr(keys[i])) (keys[i], keys[j]) = (keys[j], keys[i]);
            }
        }
    }

    function bound(uint256 value, uint256 min, uint256 max) internal pure returns (uint256) {
        return min + (value % (max - min + 1));
    }

    function eq(uint256 a, uint256 b, string memory what) internal pure {
        vm.assertEq(a, b, what);
    }

    function eq(bytes32 a, bytes32 b, string memory what) internal pure {
        vm.assertEq(uint256(a), uint256(b), what);
    }

    function refuses(bytes memory reason) internal {
        vm.expectRevert(reason);
    }
}
