"""Prompts with known answers, at any length and depth: what the testbed model learns from and is measured on."""
