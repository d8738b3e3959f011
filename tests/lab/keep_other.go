//go:build !linux

package main

import "syscall"

func dieWithParent(*syscall.SysProcAttr) {}

func adoptOrphans() error { return nil }

func killOrphans() {}
