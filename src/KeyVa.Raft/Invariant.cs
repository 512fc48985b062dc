using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;

namespace KeyVa.Raft;

/// <summary>
/// Assertions that stay on in every build: a replica that has broken one of them must stop before it acknowledges
/// anything more. Each is a comparison or two. Stateless.
/// </summary>
internal static class Invariant
{
    public static void Holds([DoesNotReturnIf(false)] bool holds, string what)
    {
        if (!holds)
        {
            throw new UnreachableException($"Raft: broken: {what}");
        }
    }
}
