// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {TestIdentityRegistry} from "../src/test-registries/TestIdentityRegistry.sol";
import {TestReputationRegistry} from "../src/test-registries/TestReputationRegistry.sol";
import {TestValidationRegistry} from "../src/test-registries/TestValidationRegistry.sol";
import {Kit} from "./kit/Kit.sol";

contract TestRegistriesTest is Kit {
    TestIdentityRegistry private identities;
    TestReputationRegistry private reputation;
    TestValidationRegistry private validation;
    uint256 private agent;

    function setUp() public override {
        super.setUp();
        identities = new TestIdentityRegistry();
        reputation = new TestReputationRegistry(identities);
        validation = new TestValidationRegistry(identities);
        vm.startPrank(provider);
        identities.register();
        agent = identities.register("https://node.example/agent.json");
        vm.stopPrank();
    }

    // Identity

    function test_anAgentHasAnOwnerAFileAndAWallet() public {
        eq(agent, 1, "counted from 0");
        vm.assertTrue(identities.ownerOf(agent) == provider, "owner");
        vm.assertTrue(identities.getAgentWallet(agent) == provider, "wallet");
        eq(keccak256(bytes(identities.tokenURI(agent))), keccak256("https://node.example/agent.json"), "file");
        vm.prank(provider);
        identities.setAgentURI(agent, "https://node.example/2.json");
        eq(keccak256(bytes(identities.tokenURI(agent))), keccak256("https://node.example/2.json"), "another file");
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IERC721Errors.ERC721InsufficientApproval.selector, stranger, agent));
        identities.setAgentURI(agent, "x");
        vm.prank(provider);
        identities.transferFrom(provider, tenant, agent);
        vm.assertTrue(identities.getAgentWallet(agent) == address(0), "the wallet does not go with it");
    }

    function test_metadataIsTheOwnersButForTheWallet() public {
        TestIdentityRegistry.MetadataEntry[] memory entries = new TestIdentityRegistry.MetadataEntry[](1);
        entries[0] = TestIdentityRegistry.MetadataEntry("agentName", "one");
        vm.startPrank(provider);
        uint256 id = identities.register("", entries);
        eq(keccak256(identities.getMetadata(id, "agentName")), keccak256("one"), "with the registration");
        identities.setMetadata(id, "agentName", "two");
        eq(keccak256(identities.getMetadata(id, "agentName")), keccak256("two"), "later");
        refuses(abi.encodeWithSelector(TestIdentityRegistry.KeyReserved.selector, "agentWallet"));
        identities.setMetadata(id, "agentWallet", "x");
        vm.stopPrank();
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IERC721Errors.ERC721InsufficientApproval.selector, stranger, id));
        identities.setMetadata(id, "agentName", "x");
    }

    // Reputation

    function give(address client, int128 value, uint8 decimals, string memory tag) private {
        vm.prank(client);
        reputation.giveFeedback(agent, value, decimals, tag, "", "", "", 0);
    }

    function summary(address client, string memory tag) private view returns (uint64, int128, uint8) {
        address[] memory clients = new address[](1);
        clients[0] = client;
        return reputation.getSummary(agent, clients, tag, "");
    }

    function test_feedbackIsGivenRevokedAndSummedUp() public {
        give(tenant, 9_977, 2, "uptime");
        give(tenant, -1, 0, "uptime");
        give(tenant, 1_000, 2, "speed");
        (uint64 count, int128 value, uint8 decimals) = summary(tenant, "uptime");
        vm.assertTrue(count == 2 && value == 49 && decimals == 0, "the average of 99.77 and -1, with as many decimals as most");
        (count, value, decimals) = summary(tenant, "");
        vm.assertTrue(count == 3 && value == 3_625 && decimals == 2, "of all three");
        vm.prank(tenant);
        reputation.revokeFeedback(agent, 2);
        (count, value, decimals) = summary(tenant, "uptime");
        vm.assertTrue(count == 1 && value == 9_977 && decimals == 2, "without the revoked one");
        vm.prank(tenant);
        refuses(abi.encodeWithSelector(TestReputationRegistry.FeedbackIsRevoked.selector, agent, tenant, uint64(2)));
        reputation.revokeFeedback(agent, 2);
        (,,,, bool revoked) = reputation.readFeedback(agent, tenant, 2);
        vm.assertTrue(revoked, "revoked");
        eq(reputation.getLastIndex(agent, tenant), 3, "counted from 1");
        eq(reputation.getClients(agent).length, 1, "one client");
        (count,,) = summary(stranger, "");
        eq(count, 0, "nothing of others");
    }

    function test_refusesFeedbackThatIsNone() public {
        vm.prank(provider);
        refuses(abi.encodeWithSelector(TestReputationRegistry.SelfFeedback.selector, agent, provider));
        reputation.giveFeedback(agent, 1, 0, "", "", "", "", 0);
        refuses(abi.encodeWithSelector(TestReputationRegistry.ValueInvalid.selector, int128(1), uint8(19)));
        reputation.giveFeedback(agent, 1, 19, "", "", "", "", 0);
        refuses(abi.encodeWithSelector(TestReputationRegistry.ValueInvalid.selector, int128(1e38) + 1, uint8(0)));
        reputation.giveFeedback(agent, 1e38 + 1, 0, "", "", "", "", 0);
        refuses(abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, 9));
        reputation.giveFeedback(9, 1, 0, "", "", "", "", 0);
        refuses(abi.encodeWithSelector(TestReputationRegistry.FeedbackUnknown.selector, agent, tenant, uint64(1)));
        reputation.appendResponse(agent, tenant, 1, "x", 0);
        give(tenant, 1, 0, "");
        refuses(abi.encodeWithSelector(TestReputationRegistry.ResponseEmpty.selector));
        reputation.appendResponse(agent, tenant, 1, "", 0);
        reputation.appendResponse(agent, tenant, 1, "x", 0);
        refuses(abi.encodeWithSelector(TestReputationRegistry.ClientsMissing.selector));
        reputation.getSummary(agent, new address[](0), "", "");
    }

    // Validation

    function test_aValidatorAnswersWhatItWasAsked() public {
        bytes32 ask = keccak256("a request");
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(TestValidationRegistry.NotAuthorized.selector, agent, stranger));
        validation.validationRequest(gateway, agent, "", ask);
        vm.startPrank(provider);
        refuses(abi.encodeWithSelector(TestValidationRegistry.ValidatorMissing.selector));
        validation.validationRequest(address(0), agent, "", ask);
        validation.validationRequest(gateway, agent, "https://node.example/ask", ask);
        refuses(abi.encodeWithSelector(TestValidationRegistry.RequestExists.selector, ask));
        validation.validationRequest(gateway, agent, "", ask);
        refuses(abi.encodeWithSelector(TestValidationRegistry.NotValidator.selector, ask, provider));
        validation.validationResponse(ask, 100, "", 0, "");
        vm.stopPrank();
        (uint64 count,) = validation.getSummary(agent, new address[](0), "");
        eq(count, 0, "no answer yet");
        vm.startPrank(gateway);
        refuses(abi.encodeWithSelector(TestValidationRegistry.ResponseAbove100.selector, uint8(101)));
        validation.validationResponse(ask, 101, "", 0, "");
        validation.validationResponse(ask, 40, "", 0, "audit");
        validation.validationResponse(ask, 80, "https://gateway.example/why", keccak256("why"), "audit");
        vm.stopPrank();
        (address validator, uint256 id, uint8 response, bytes32 hash, string memory tag, uint256 at_) =
            validation.getValidationStatus(ask);
        vm.assertTrue(validator == gateway && id == agent && response == 80, "the last answer");
        vm.assertTrue(hash == keccak256("why") && keccak256(bytes(tag)) == keccak256("audit") && at_ == START, "all of it");
        uint8 average;
        (count, average) = validation.getSummary(agent, new address[](0), "audit");
        vm.assertTrue(count == 1 && average == 80, "summed up");
        (count,) = validation.getSummary(agent, new address[](0), "other");
        eq(count, 0, "by tag");
        address[] memory others = new address[](1);
        others[0] = tenant;
        (count,) = validation.getSummary(agent, others, "");
        eq(count, 0, "by validator");
        eq(validation.getAgentValidations(agent)[0], ask, "of the agent");
        eq(validation.getValidatorRequests(gateway)[0], ask, "of the validator");
        refuses(abi.encodeWithSelector(TestValidationRegistry.RequestUnknown.selector, bytes32(0)));
        validation.getValidationStatus(0);
    }
}
