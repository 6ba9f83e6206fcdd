create table if not exists members (user_id integer, team text, primary key (user_id, team));
create table if not exists grants (team text, permission text, primary key (team, permission));

insert or ignore into members select id, iif(username = 'grace', 'admins', 'staff') from users;
insert or ignore into grants values
  ('staff', 'protected.read'), ('admins', 'protected.read'), ('admins', 'restricted.read');
