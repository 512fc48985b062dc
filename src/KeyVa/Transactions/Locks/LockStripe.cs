using System.Runtime.InteropServices;

namespace KeyVa.Transactions.Locks;

/// <summary>
/// One part of the table: the locked keys whose hash falls to it, and the objects that are free for the next ones, so that a
/// lock that nobody contends allocates nothing. Guarded by <see cref="Gate"/>.
/// </summary>
internal sealed class LockStripe
{
    /// <summary>The most keys, and requests, that are kept for later.</summary>
    private const int MostFree = 1024;

    public readonly Lock Gate = new();
    public readonly KeyTree Keys = new();

    private LockedKey? _freeKeys;
    private int _freeKeyCount;
    private LockRequest? _freeRequests;
    private int _freeRequestCount;
    private int _held;

    /// <summary>Requests that hold a key of this part. Written under the gate, read anywhere.</summary>
    public int Held
    {
        get => Volatile.Read(ref _held);
        set => Volatile.Write(ref _held, value);
    }

    public static uint Hash(ReadOnlySpan<byte> key)
    {
        // The runtime's string hash is seeded per process, so nobody can choose keys that collide.
        int hash = string.GetHashCode(MemoryMarshal.Cast<byte, char>(key));
        return (uint)((key.Length & 1) == 0 ? hash : HashCode.Combine(hash, key[^1]));
    }

    /// <summary>A request for a key, in neither of the key's lists yet.</summary>
    public LockRequest TakeRequest(LockOwner owner, LockedKey? locked, ReadOnlySpan<byte> key, uint hash, int units)
    {
        LockRequest? request = _freeRequests;
        if (request is null)
        {
            request = new LockRequest();
        }
        else
        {
            _freeRequests = request.Older;
            _freeRequestCount--;
            request.Older = null;
        }

        request.Owner = owner;
        request.Key = locked ?? TakeKey(key, hash);
        request.Units = units;
        return request;
    }

    /// <summary>Takes back a request that stands in no list any more, and its key if nobody else needs it.</summary>
    public void Give(LockRequest request)
    {
        LockedKey key = request.Key!;
        request.Owner = null!;
        request.Key = null;
        request.Held = LockRequest.None;
        request.Wanted = LockRequest.None;
        request.Upgraded = 0;
        if (_freeRequestCount < MostFree)
        {
            request.Older = _freeRequests;
            _freeRequests = request;
            _freeRequestCount++;
        }

        if (key.IsUnused)
        {
            GiveKey(key);
        }
    }

    private LockedKey TakeKey(ReadOnlySpan<byte> bytes, uint hash)
    {
        LockedKey? key = _freeKeys;
        if (key is null)
        {
            key = new LockedKey(this);
        }
        else
        {
            _freeKeys = key.Left;
            _freeKeyCount--;
        }

        key.SetKey(bytes);

        // The low bits chose the stripe; turned round, the others decide first.
        key.Priority = uint.RotateRight(hash, 16);
        Keys.Add(key);
        return key;
    }

    private void GiveKey(LockedKey key)
    {
        Keys.Remove(key);
        if (_freeKeyCount < MostFree)
        {
            key.Forget();
            key.Left = _freeKeys;
            _freeKeys = key;
            _freeKeyCount++;
        }
    }
}
