"""What ``extract`` wrote -> what a trainer reads.

marks       spans of a video that a person marked as wrong
"""
