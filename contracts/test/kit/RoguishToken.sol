// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

interface Callback {
    function onTransfer() external;
}

/// @dev A token with the bad habits of some: a fee on transfers, balances that change by themselves, calls into its holders.
contract RoguishToken is ERC20("Roguish", "R") {
    uint256 public fee;
    uint256 public counted;
    Callback private _callback;

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setFee(uint256 fee_) external {
        fee = fee_;
    }

    function setCallback(Callback callback) external {
        _callback = callback;
    }

    function count() external {
        counted++;
    }

    function rebase(address account, uint256 balance) external {
        uint256 now_ = balanceOf(account);
        if (balance > now_) _mint(account, balance - now_);
        else _burn(account, now_ - balance);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from == address(0) || to == address(0)) return;
        if (fee != 0) super._update(to, address(0), fee);
        if (address(_callback) != address(0)) _callback.onTransfer();
    }
}
