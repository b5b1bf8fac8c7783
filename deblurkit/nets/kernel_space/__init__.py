"""Encoded blur kernel spaces (Tran et al., CVPR 2021): a family of blurs F and an extractor G, learned together."""
