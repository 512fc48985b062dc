using System.Security.Claims;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features.Authentication;

namespace KeyVa.Server.Identity;

/// <summary>
/// Who asks: a user that has proved itself, nobody in particular, or, while there are no users, anybody. As of one list of users: whoever keeps one
/// asks <see cref="AsOf"/> before each use. Immutable.
/// </summary>
internal sealed class Caller : IHttpAuthenticationFeature
{
    private readonly UserDirectory _directory;
    private readonly object? _credential;

    private Caller(UserDirectory directory, User? user, object? credential, string address)
    {
        _directory = directory;
        _credential = credential;
        User = user;
        Address = address;
        Data = directory.IsOpen ? Rights.Everything : user?.Data ?? Rights.Nothing;
        Control = directory.IsOpen ? Rights.Everything : user?.Control ?? Rights.Nothing;
    }

    /// <summary>Null: it has not proved itself.</summary>
    public User? User { get; }

    /// <summary>Its IP address.</summary>
    public string Address { get; }

    public Rights Data { get; }

    public Rights Control { get; }

    /// <summary>Requests carry their caller in the place that servers keep for it, which costs nothing to set.</summary>
    ClaimsPrincipal? IHttpAuthenticationFeature.User { get; set; }

    /// <summary>Whether there is nothing to prove, or it was proved.</summary>
    public bool IsKnown => User is not null || _directory.IsOpen;

    /// <summary>What it is called in logs, and by Redis clients.</summary>
    public string Name => User?.Name ?? (_directory.IsOpen ? "default" : "");

    public static Caller Anonymous(UserDirectory directory, string address) => new(directory, null, null, address);

    /// <summary>A user that has proved itself with one of its credentials.</summary>
    public static Caller Of(UserDirectory directory, User user, object credential, string address) => new(directory, user, credential, address);

    /// <summary>The caller of a request that the gate has let through.</summary>
    public static Caller Of(HttpContext http) => (Caller)http.Features.Get<IHttpAuthenticationFeature>()!;

    public Rights On(Plane plane) => plane == Plane.Data ? Data : Control;

    /// <summary>The same, as the users are now: one whose user or credential is gone has to prove itself again.</summary>
    public Caller AsOf(UserDirectory directory)
    {
        if (ReferenceEquals(directory, _directory))
        {
            return this;
        }

        User? user = User is null ? null : directory.Find(User.Name);
        return user is not null && user.Knows(_credential!)
            ? new Caller(directory, user, _credential, Address)
            : new Caller(directory, null, null, Address);
    }
}
