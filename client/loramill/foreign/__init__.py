"""Configurations of other trainers as specs of ours.

Each program has a table, one row for each of its keys: what it becomes here, or that nothing does and what comes nearest. The
import and `docs/foreign-configurations.md` are made from the same tables.
"""
