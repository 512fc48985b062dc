using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Memory;

/// <summary>
/// One version of one key, in native memory. Everything but <see cref="Older"/> is constant once the node is linked;
/// <see cref="Older"/> is written by the writer alone and read by anyone.
/// </summary>
/// <remarks><code>
///  0        8         16      24          32     40            44          46         48
///  | older  | version | stamp | expiresAt | hash | valueLength | keyLength | reserved | key … | value … |
/// </code></remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Node
{
    public const int HeaderBytes = 48;
    public const int Tombstone = -1;

    public nint Older;
    public long Version;
    public long Stamp;
    public long ExpiresAt;
    public ulong Hash;
    public int ValueLength;
    public ushort KeyLength;
    public ushort Reserved;

    public readonly bool IsTombstone => ValueLength < 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ReadOnlySpan<byte> KeyOf(Node* node) => new((byte*)node + HeaderBytes, node->KeyLength);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ReadOnlySpan<byte> ValueOf(Node* node) =>
        new((byte*)node + HeaderBytes + node->KeyLength, node->ValueLength);

    public static int BytesOf(Node* node) => HeaderBytes + node->KeyLength + Math.Max(0, node->ValueLength);

    /// <summary>The newest version at or below <paramref name="at"/>, or null.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Node* VisibleAt(Node* head, long at)
    {
        while (head is not null && head->Version > at)
        {
            head = (Node*)Volatile.Read(ref head->Older);
        }

        return head;
    }
}
