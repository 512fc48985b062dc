using KeyVa.Server.Admission;
using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>
/// What the commands of one session pay: those of keys some at a time, so that a pipeline asks the limits seldom; those of the control plane each by
/// itself, under that plane's limits. One thread at a time.
/// </summary>
internal sealed class SessionRates(RateLimits limits)
{
    private const int MostReceived = 64 << 10;

    private RateSet _data = RateSet.None;
    private RateSet _control = RateSet.None;

    // Bytes that were received and are not owed yet: they are with those that are sent for them.
    private long _received;

    // Commands that are paid and have not come yet, and whether the one that is there is paid.
    private int _paid;
    private bool _isPaid;

    /// <summary>When to come back with the command that is there; zero: it is paid.</summary>
    public TimeSpan RetryAfter { get; private set; }

    /// <summary>Somebody else speaks.</summary>
    public void Become(Caller caller)
    {
        OweReceived();
        _data = limits.Of(Plane.Data, caller);
        _control = limits.Of(Plane.Control, caller);
        _paid = 0;
        RetryAfter = TimeSpan.Zero;
    }

    /// <summary>Pays for a command of keys that is there, some more with it; or notes when to come back. Once for each command, however often it is looked at.</summary>
    public void Pay()
    {
        if (_isPaid || !_data.IsLimited)
        {
            return;
        }

        _isPaid = true;
        RetryAfter = TimeSpan.Zero;
        if (--_paid >= 0)
        {
            return;
        }

        OweReceived();
        int portion = _data.Portion;
        _paid = 0;
        if (_data.TryEnter(portion, out TimeSpan retryAfter))
        {
            _paid = portion - 1;
        }
        else if (portion > 1)
        {
            _data.TryEnter(1, out retryAfter);
        }

        Note(retryAfter);
    }

    /// <summary>The command is one of the control plane: what it has paid as one of keys is there for the next, and it comes under that plane's limits.</summary>
    public void PayControl()
    {
        if (_isPaid && RetryAfter == TimeSpan.Zero)
        {
            _paid++;
        }

        _control.TryEnter(1, out TimeSpan retryAfter);
        Note(retryAfter);
    }

    /// <summary>The command has been done.</summary>
    public void End()
    {
        _isPaid = false;
        RetryAfter = TimeSpan.Zero;
    }

    /// <summary>Counts bytes that were received: they are owed when something is sent, when commands are paid, when they are many, or at the end.</summary>
    public void CountReceived(int bytes)
    {
        _received += bytes;
        if (_received > MostReceived)
        {
            OweReceived();
        }
    }

    /// <summary>Counts bytes that were sent.</summary>
    public void CountSent(int bytes)
    {
        _received += bytes;
        OweReceived();
    }

    /// <summary>What was received is owed now.</summary>
    public void OweReceived()
    {
        if (_data.CountsBytes && _received > 0)
        {
            _data.Owe(_received);
        }

        _received = 0;
    }

    /// <summary>So many bytes that are counted with those of keys, or will be, were of the control plane.</summary>
    public void MoveToControl(long bytes)
    {
        if (_data.CountsBytes)
        {
            _data.Owe(-bytes);
        }

        if (_control.CountsBytes)
        {
            _control.Owe(bytes);
        }
    }

    private void Note(TimeSpan retryAfter)
    {
        RetryAfter = retryAfter;
        if (retryAfter > TimeSpan.Zero)
        {
            limits.NoteRefused();
        }
    }
}
