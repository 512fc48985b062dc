using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace KeyVa.Server.Admission;

/// <summary>How many connections and requests one listener takes at once, in all and from one address. Thread-safe.</summary>
/// <remarks>
/// An address is an IPv4 address or an IPv6 network of 64 bits, which is what one customer gets. An entry lives as long as one of its connections, so the
/// table is never larger than there are connections.
/// </remarks>
internal sealed class ConnectionLimits(int most, int mostPerAddress, int mostInFlight, int mostInFlightPerAddress)
{
    private const int NetworkBytes = 8;

    private readonly ConcurrentDictionary<string, AddressEntry> _addresses = new(StringComparer.Ordinal);
    private int _most = most;
    private int _connections;
    private int _inFlight;
    private long _refused;
    private readonly TaskCompletionSource _quiet = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _isStopping;

    /// <summary>Connections open now.</summary>
    public int Connections => Volatile.Read(ref _connections);

    /// <summary>From now on so many connections are taken at once. Those that are open stay.</summary>
    public void Change(int most) => Volatile.Write(ref _most, most);

    /// <summary>Connections and requests that were refused since the start.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Takes in a connection; null: there are too many. Whoever got an entry gives it back by <see cref="Leave"/>.</summary>
    public AddressEntry? TryConnect(EndPoint? peer)
    {
        if (Interlocked.Increment(ref _connections) > Volatile.Read(ref _most))
        {
            Interlocked.Decrement(ref _connections);
            Interlocked.Increment(ref _refused);
            return null;
        }

        string text = TextOf(peer);
        while (true)
        {
            AddressEntry entry = _addresses.GetOrAdd(text, static text => new AddressEntry(text));
            lock (entry)
            {
                if (entry.IsGone)
                {
                    continue;
                }

                if (entry.Connections < mostPerAddress)
                {
                    entry.Connections++;
                    return entry;
                }
            }

            Interlocked.Decrement(ref _connections);
            Interlocked.Increment(ref _refused);
            return null;
        }
    }

    /// <summary>A connection has ended.</summary>
    public void Leave(AddressEntry entry)
    {
        Interlocked.Decrement(ref _connections);
        lock (entry)
        {
            if (--entry.Connections == 0)
            {
                entry.IsGone = true;
                _addresses.TryRemove(entry.Text, out _);
            }
        }
    }

    /// <summary>Begins a request; false: too many are under way. Whoever began one ends it by <see cref="EndRequest"/>.</summary>
    public bool TryBeginRequest(AddressEntry entry)
    {
        if (Interlocked.Increment(ref _inFlight) <= mostInFlight && Volatile.Read(ref _isStopping) == 0)
        {
            if (Interlocked.Increment(ref entry.InFlight) <= mostInFlightPerAddress)
            {
                return true;
            }

            Interlocked.Decrement(ref entry.InFlight);
        }

        EndOne();
        Interlocked.Increment(ref _refused);
        return false;
    }

    public void EndRequest(AddressEntry entry)
    {
        Interlocked.Decrement(ref entry.InFlight);
        EndOne();
    }

    /// <summary>Lets no request begin any more; ends when none is under way.</summary>
    public Task StopAsync()
    {
        Interlocked.Exchange(ref _isStopping, 1);
        if (Volatile.Read(ref _inFlight) == 0)
        {
            _quiet.TrySetResult();
        }

        return _quiet.Task;
    }

    private void EndOne()
    {
        if (Interlocked.Decrement(ref _inFlight) == 0 && Volatile.Read(ref _isStopping) == 1)
        {
            _quiet.TrySetResult();
        }
    }

    /// <summary>What an address is called where it is counted.</summary>
    public static string TextOf(EndPoint? peer)
    {
        if (peer is not IPEndPoint { Address: { } address })
        {
            return peer?.ToString() ?? "unknown";
        }

        if (address.IsIPv4MappedToIPv6)
        {
            return address.MapToIPv4().ToString();
        }

        if (address.AddressFamily == AddressFamily.InterNetwork || IPAddress.IsLoopback(address))
        {
            return address.ToString();
        }

        byte[] bytes = address.GetAddressBytes();
        Array.Clear(bytes, NetworkBytes, bytes.Length - NetworkBytes);
        return $"{new IPAddress(bytes)}/64";
    }
}

/// <summary>What one address has at one listener. Connections under its lock, requests by atomic operations.</summary>
internal sealed class AddressEntry(string text)
{
    /// <summary>Requests under way.</summary>
    public int InFlight;

    public string Text { get; } = text;

    public int Connections { get; set; }

    /// <summary>Its last connection has ended; the next one gets another entry.</summary>
    public bool IsGone { get; set; }
}
