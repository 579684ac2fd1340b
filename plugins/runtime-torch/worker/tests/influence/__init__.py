"""Tests of influence: its kernel, and profiles of whole models."""
