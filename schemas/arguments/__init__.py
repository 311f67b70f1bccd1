"""What each tool takes: one module a tool, one model in it. The tools' definitions, the engine's
methods, the checks, and what makes two calls the same call all come from these models.
"""
