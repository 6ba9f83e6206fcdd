-- The password of each account is `correct horse`.
create table if not exists users (
  id integer primary key,
  username text not null unique,
  password text not null
);

insert or ignore into users (username, password)
select value, '$argon2id$v=19$m=19456,t=2,p=1$+s46r3mfoynGzXiMDrcGiQ$KrSKN0U/Dd63k4hOq3uRTHRm6o5ei2gdXbVsuB8CVak'
from json_each('["ada", "grace"]');
